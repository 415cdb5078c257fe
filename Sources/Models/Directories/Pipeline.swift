internal import Safetensors
internal import SystemPackage

extension ModelDirectory {
  /// diffusers: one subdirectory for each component that model_index.json names, or, if it names none, for each directory
  /// with weights. Components without weights (tokenizer, scheduler) are not shown, and `notes` names other directories
  /// with weights. Nil if no component has weights. A component without the variant is shown as it is, if another one has it.
  func pipelineLayout(notes: inout [String]) throws(ModelError) -> Layout? {
    let index = try PipelineIndex(opening: path.appending("model_index.json"))
    var named = index.components
    let existing = Set(names)
    for name in index.lists {
      // The first has the component's name, the others NAME_1, NAME_2, ….
      for number in 1...max(1, names.count) {
        let next = name + "_\(number)".utf8
        guard existing.contains(next), isDirectory(next) else { break }
        named.insert(next)
      }
    }
    var components: [(name: [UInt8], layout: Layout)] = []
    var undecided: ModelError?
    var left: [[UInt8]] = []
    var variants: Set<String> = []
    for name in names where isDirectory(name) {
      let directory = try ModelDirectory(scanning: child(name), variant: variant)
      let hasWeights = directory.names.contains { directory.isFamilyFile($0) || ModelIndex.isIndex($0) }
      guard named.contains(name) || named.isEmpty else {
        if hasWeights || ForeignFiles.isWeights(name)
          || directory.names.contains(where: ForeignFiles.isWeights)
        {
          left.append(name)
        }
        continue
      }
      guard hasWeights else {
        let foreign = directory.names.filter(ForeignFiles.isWeights)
        if !foreign.isEmpty {
          notes.append("\(child(name).printable): left out, \(list(foreign, limit: 3)) is of another format")
        } else if directory.contains("config.json") {
          // Components that never have weights describe themselves under other names, such as scheduler_config.json.
          notes.append(
            "\(child(name).printable): left out, no weights in it beside 'config.json'; download them")
        }
        continue
      }
      do throws(ModelError) {
        variants.formUnion(directory.variants)
        components.append((name, try directory.modelLayout(requiresVariant: false, notes: &notes)))
      } catch {
        // The other components are still decided; the note names the choices.
        guard error.isAmbiguous || error.kind == .noSource else { throw error }
        notes.append("\(error.description); the component is left out")
        undecided = error
      }
    }
    if let variant, !variants.contains(variant), !components.isEmpty || undecided != nil {
      throw noVariant(variant, among: variants)
    }
    guard !components.isEmpty else {
      if let undecided { throw undecided }
      return nil
    }
    left += names.filter { isLeftOut($0) && !isDirectory($0) }
    let missing = named.subtracting(existing).sorted { compareBytes($0[...], $1[...]) < 0 }
    if !missing.isEmpty {
      notes.append(
        "\(path.printable): 'model_index.json' names \(PrintableText.counted(missing.count, "component")) missing here: "
          + "\(list(missing)); download \(missing.count == 1 ? "it" : "them")")
    }
    if !left.isEmpty {
      notes.append(
        "\(path.printable): the models are what 'model_index.json' names; \(left.count) other "
          + "\(left.count == 1 ? "entry is" : "entries are") left out: \(list(left))")
    }
    return .components(components)
  }
}

/// The components in a pipeline's `model_index.json`.
struct PipelineIndex {
  /// The names of the existing components: `"unet": ["diffusers", "UNet2DConditionModel"]`, but not
  /// `"safety_checker": [null, null]`.
  private(set) var components: Set<[UInt8]> = []
  /// Those that are lists of models, each in a directory of its own: `"controlnet": ["diffusers", "MultiControlNetModel"]`.
  private(set) var lists: [[UInt8]] = []

  init(opening path: FilePath) throws(ModelError) {
    let bytes = try SmallFile.bytes(of: path, what: "a list of components")
    do throws(JSONError) {
      try read(bytes.span)
    } catch {
      throw ModelError(
        .malformed, path, "invalid list of components at byte \(error.offset): \(error.problem)")
    }
  }

  /// Reads the JSON alone; for fuzzing.
  init(json: [UInt8]) throws(JSONError) { try read(json.span) }

  private mutating func read(_ json: Span<UInt8>) throws(JSONError) {
    if let offset = firstInvalidUTF8(json) { throw JSONError(offset: offset, problem: "not UTF-8") }
    var cursor = JSONCursor(json)
    var text: [UInt8] = []
    try cursor.beginObject()
    while let key = try cursor.nextKey(into: &text) {
      let name = Array(text[key.range])
      text.removeAll(keepingCapacity: true)
      cursor.skipWhitespace()
      guard cursor.byte == UInt8(ascii: "[") else {
        try cursor.skipValue(scratch: &text)
        continue
      }
      // The library, and the class in it.
      var words: [[UInt8]] = []
      try cursor.beginArray()
      while try cursor.nextElement() {
        cursor.skipWhitespace()
        guard cursor.byte == UInt8(ascii: "\"") else {
          try cursor.skipValue(scratch: &text)
          continue
        }
        let range = try cursor.string(into: &text)
        words.append(Array(text[range]))
        text.removeAll(keepingCapacity: true)
      }
      // Names such as `_class_name` are the pipeline's own.
      guard name.first != UInt8(ascii: "_"), let last = words.last else { continue }
      components.insert(name)
      if words.count == 2, String(decoding: last, as: UTF8.self).contains("Multi") { lists.append(name) }
    }
    try cursor.expectEnd()
  }
}
