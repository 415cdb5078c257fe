internal import Safetensors
internal import SystemPackage

extension ModelDirectory {
  /// diffusers: one subdirectory for each component that model_index.json names, or, if it names none, for each directory
  /// with weights. Components without weights (tokenizer, scheduler) are not shown, and `notes` names other directories
  /// with weights. Nil if no component has weights.
  func pipelineLayout(notes: inout [String]) throws(ModelError) -> Layout? {
    let named = try PipelineIndex(opening: path.appending("model_index.json")).components
    var components: [(name: [UInt8], layout: Layout)] = []
    var undecided: ModelError?
    var left: [[UInt8]] = []
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
        }
        continue
      }
      do throws(ModelError) {
        components.append((name, try directory.modelLayout(notes: &notes)))
      } catch {
        // The others are one model each; the note names the choices.
        guard error.isAmbiguous || error.kind == .noSource else { throw error }
        notes.append("\(error.description); the component is left out")
        undecided = error
      }
    }
    guard !components.isEmpty else {
      if let undecided { throw undecided }
      return nil
    }
    left += names.filter { !isDirectory($0) && (isFamilyFile($0) || ForeignFiles.isWeights($0)) }
    if !left.isEmpty {
      notes.append(
        "\(path.printable): the models are what 'model_index.json' names; \(left.count) other "
          + "\(left.count == 1 ? "entry is" : "entries are") left out: \(list(left))")
    }
    return .components(components)
  }
}

/// The components in a pipeline's `model_index.json`.
private struct PipelineIndex {
  /// The names of the existing components: `"unet": ["diffusers", "UNet2DConditionModel"]`, but not
  /// `"safety_checker": [null, null]`.
  private(set) var components: Set<[UInt8]> = []

  init(opening path: FilePath) throws(ModelError) {
    let bytes = try SmallFile.bytes(of: path, what: "a list of components")
    do throws(JSONError) {
      try read(bytes.span)
    } catch {
      throw ModelError(
        .malformed, path, "invalid list of components at byte \(error.offset): \(error.problem)")
    }
  }

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
      var isThere = false
      try cursor.beginArray()
      while try cursor.nextElement() {
        cursor.skipWhitespace()
        if cursor.byte == UInt8(ascii: "\"") { isThere = true }
        try cursor.skipValue(scratch: &text)
      }
      if isThere { components.insert(name) }
    }
    try cursor.expectEnd()
  }
}
