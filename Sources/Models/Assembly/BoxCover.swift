/// Decides whether boxes cover each element of a shape exactly once.
///
/// A box is the sum of its corners, with signs: +1 at its start and -1 after its end, in each dimension. The corners of
/// boxes that fill a shape cancel each other, except those of the shape. The algorithm goes through the dimensions one by
/// one and drops corners that cancel, so a grid of n boxes takes time and memory in n, not in the number of its corners.
enum BoxCover {
  /// The maximum number of entries for a box.
  private static let entriesPerBox = 64
  /// The maximum number of dimensions in which a tensor is cut; a mesh of devices has three or four.
  private static let cutDimensions = 32

  /// Throws if an element is in no box, or in two; both are named. Boxes end inside the shape.
  static func check(_ boxes: some Collection<AssembledTensor.Box>, fill shape: [UInt64])
    throws(AssembledTensor.Problem)
  {
    if shape.contains(0) { return }
    // A dimension that every box covers completely makes no difference.
    let cut = shape.indices.filter { index in
      boxes.contains { $0.shape[$0.shape.startIndex + index] != shape[index] }
    }
    guard cut.count <= cutDimensions else {
      throw AssembledTensor.Problem(
        clause: "is cut along \(cut.count) dimensions; at most \(cutDimensions) are supported")
    }
    // The rest of a box: a corner's index in the finished dimensions, start and end in the others.
    var entries: [[UInt64]: Int] = [cut.flatMap { [0, shape[$0]] }: -1]
    for box in boxes where !box.shape.contains(0) {
      let key = cut.flatMap { index in
        [box.start[index], box.start[index] + box.shape[box.shape.startIndex + index]]
      }
      add(1, to: key, in: &entries)
    }
    let limit = boxes.count * entriesPerBox + 1024
    for done in cut.indices {
      var next: [[UInt64]: Int] = [:]
      for (key, sign) in entries {
        var corner = key
        corner.remove(at: done + 1)
        add(sign, to: corner, in: &next)
        corner[done] = key[done + 1]
        add(-sign, to: corner, in: &next)
      }
      guard next.count <= limit else {
        throw AssembledTensor.Problem(clause: "is cut into \(boxes.count) slices that do not form a grid")
      }
      entries = next
    }
    // In the order of the elements, the first remaining corner is the first wrong element.
    guard let wrong = entries.min(by: { $0.key.lexicographicallyPrecedes($1.key) }) else { return }
    var index = shape.map { _ in UInt64(0) }
    for (dimension, corner) in zip(cut, wrong.key) { index[dimension] = corner }
    throw problem(at: index, isGap: wrong.value < 0)
  }

  private static func problem(at index: [UInt64], isGap: Bool) -> AssembledTensor.Problem {
    // For a shape of thousands of dimensions, the message has only the first ones.
    let shown = index.prefix(cutDimensions).map(String.init).joined(separator: ", ")
    let element = "[\(shown)\(index.count > cutDimensions ? ", …" : "")]"
    return AssembledTensor.Problem(
      clause: isGap
        ? "has a gap: no slice holds its element \(element); is a file missing?"
        : "has slices that overlap, at its element \(element)")
  }

  private static func add(_ sign: Int, to key: [UInt64], in entries: inout [[UInt64]: Int]) {
    let sum = entries[key, default: 0] + sign
    entries[key] = sum == 0 ? nil : sum
  }
}
