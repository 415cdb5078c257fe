import SystemPackage

/// The entry of a tensor in `metadata.json`, read by jq(1).
struct DocumentEntry {
  let name: [UInt8]
  let path: FilePath
  let dtype: String
  let shape: [Int]
  let byteCount: Int
  let source: String
  let offset: Int

  /// Names can have any characters, so jq prints strings as code points.
  private static let program = """
    def points: explode | map(tostring) | join(" ");
    .tensors | to_entries[]
    | [(.key | points), (.value.path | points), .value.dtype, (.value.shape | map(tostring) | join(" ")),
       (.value.nbytes | tostring), (.value.source | points), (.value.offset | tostring)]
    | @tsv
    """

  /// The tensors of a document. Throws if jq does not accept it as JSON.
  static func all(in document: FilePath) async throws -> [DocumentEntry] {
    let lines = try await Command.output(of: "jq", "-r", program, "\(document)")
    return try lines.split(separator: "\n").map { line in
      let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
      guard fields.count == 7, let byteCount = Int(fields[4]), let offset = Int(fields[6]) else {
        throw Machine.Unfit(description: "jq says: \(line)")
      }
      return DocumentEntry(
        name: Array(text(fields[0]).utf8), path: FilePath(text(fields[1])), dtype: String(fields[2]),
        shape: fields[3].split(separator: " ").compactMap { Int($0) }, byteCount: byteCount,
        source: text(fields[5]), offset: offset)
    }
  }

  private static func text(_ points: Substring) -> String {
    var text = String.UnicodeScalarView()
    text.append(
      contentsOf: points.split(separator: " ").compactMap { UInt32($0).flatMap(Unicode.Scalar.init) })
    return String(text)
  }
}
