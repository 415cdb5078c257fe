/// Names that the user may have meant: those with the fewest edits from the typed one.
package enum NearestNames {
  /// How many are shown.
  private static let count = 3
  /// The maximum length of compared names, in bytes: longer names are not typed, and comparing takes time proportional to the
  /// product of the lengths.
  private static let longest = 200

  /// The nearest of some names, the nearest first, as the end of a message; empty if there are none.
  package static func suggestion(for name: [UInt8], among candidates: some Sequence<ArraySlice<UInt8>>)
    -> String
  {
    let nearest = nearest(to: name, among: candidates, count)
    if nearest.isEmpty { return "" }
    return "; the nearest names are " + nearest.map { PrintableText.quoted($0.name) }.joined(separator: ", ")
  }

  /// The nearest of some names, and how many edits it is away.
  package static func nearest(to name: [UInt8], among candidates: some Sequence<ArraySlice<UInt8>>) -> (
    distance: Int, name: ArraySlice<UInt8>
  )? {
    nearest(to: name, among: candidates, 1).first
  }

  /// All names, the nearest first; of a long one, only the beginning is compared.
  package static func sorted(_ names: some Sequence<[UInt8]>, near name: [UInt8]) -> [[UInt8]] {
    let word = Array(name.prefix(longest))
    return names.map { (distance(word, Array($0.prefix(longest))), $0) }.sorted { $0.0 < $1.0 }.map(\.1)
  }

  private static func nearest(
    to name: [UInt8], among candidates: some Sequence<ArraySlice<UInt8>>, _ count: Int
  )
    -> [(distance: Int, name: ArraySlice<UInt8>)]
  {
    guard name.count <= longest else { return [] }
    var nearest: [(distance: Int, name: ArraySlice<UInt8>)] = []
    for candidate in candidates where candidate.count <= longest {
      let worst = nearest.count == count ? nearest[count - 1].distance : .max
      // At least this many bytes must be inserted or deleted.
      guard abs(candidate.count - name.count) < worst else { continue }
      let distance = Self.distance(name, Array(candidate))
      guard distance < worst else { continue }
      let place = nearest.firstIndex { $0.distance > distance } ?? nearest.count
      nearest.insert((distance, candidate), at: place)
      if nearest.count > count { nearest.removeLast() }
    }
    return nearest
  }

  /// The number of bytes to insert, delete or change: Levenshtein's distance.
  private static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
    var row = Array(0...right.count)
    for (index, byte) in left.enumerated() {
      var diagonal = row[0]
      row[0] = index + 1
      for (position, other) in right.enumerated() {
        let change = diagonal + (byte == other ? 0 : 1)
        diagonal = row[position + 1]
        row[position + 1] = min(change, row[position] + 1, row[position + 1] + 1)
      }
    }
    return row[right.count]
  }
}
