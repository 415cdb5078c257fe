internal import Safetensors
internal import SystemPackage

/// The components in a pipeline's `model_index.json`.
struct PipelineIndex {
  /// The names of the existing components: `"unet": ["diffusers", "UNet2DConditionModel"]`, but not
  /// `"safety_checker": [null, null]`.
  private(set) var components: Set<[UInt8]> = []
  /// The components that are lists of models, one directory each: `"controlnet": ["diffusers", "MultiControlNetModel"]`.
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

  /// Reads the JSON without a file; for fuzzing.
  init(json: [UInt8]) throws(JSONError) { try read(json.span) }

  private mutating func read(_ json: Span<UInt8>) throws(JSONError) {
    var cursor = try JSONCursor(checking: json)
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
