internal import Safetensors
internal import TensorFiles

/// Sets of names that try to collide.
package enum HostileNames {
  private static let pieces: [String] = [
    "/", "/", "/", ".", "..", "%", "%25", "%2F", "%2E", "%~0123456789abcdef", "%~", "~", "a", "a", "b", "A",
    "2F",
    "metadata.json", "metadata", ".json", "metadata%2Ejson", ".npy", ".f32", ".safetensors", "%2Enpy", "\0",
    "\n",
    "\u{1B}", "\u{7F}", "\u{80}", "é", "e\u{301}", "語", "😀", "\u{202E}", " ", "-", "\\",
  ]

  /// A set that depends only on `seed`, in random order.
  package static func names(seed: UInt64) -> [[UInt8]] {
    var generator = SeededGenerator(seed: seed)
    var names: [String] = []
    for _ in 0..<Int.random(in: 1...40, using: &generator) {
      var name = generator.oneIn(3) ? names.randomElement(using: &generator) ?? "" : ""
      if generator.oneIn(4) { name += "/" }
      for _ in 0..<Int.random(in: 0...4, using: &generator) {
        let piece = pieces.randomElement(using: &generator) ?? ""
        let count = generator.oneIn(40) ? Int.random(in: 60...260, using: &generator) : 1
        name += String(repeating: piece, count: count)
      }
      names.append(name)
      // The path of one name becomes another name.
      if generator.oneIn(4) {
        var encoder = PathEncoder()
        let path = encoder.encode(TensorName(name)).bytes
        names.append(String(decoding: path, as: UTF8.self))
      }
    }
    return Array(Set(names.map { Array($0.utf8) }))
  }
}
