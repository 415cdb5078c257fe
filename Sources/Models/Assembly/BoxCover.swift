/// Checks that boxes cover each element of a shape exactly once.
///
/// A box has 2^d corners in d dimensions, each with a sign: +1 for a start and -1 for an end, multiplied over the dimensions.
/// If boxes fill a shape, the signs at each point add up to those of the shape's own corners. The algorithm adds the signs
/// dimension by dimension, and drops each corner whose sum is 0. So a grid of n boxes takes time and memory proportional to
/// n, not to the number of corners.
enum BoxCover {
  /// The maximum number of corners that are kept, per box.
  private static let entriesPerBox = 64
  /// The maximum number of dimensions along which slices cut a tensor. A mesh of devices has three or four.
  private static let cutDimensions = 32

  /// Throws if an element is in no box or in two boxes; the error has the index of the first such element. Boxes must end
  /// inside the shape.
  static func check(_ boxes: some Collection<AssembledTensor.Box>, fill shape: [UInt64])
    throws(AssembledTensor.Problem)
  {
    if shape.contains(0) { return }
    // Dimensions that every box covers completely cannot have gaps or overlaps.
    let cut = shape.indices.filter { index in
      boxes.contains { $0.shape[$0.shape.startIndex + index] != shape[index] }
    }
    guard cut.count <= cutDimensions else {
      throw AssembledTensor.Problem(
        clause: "is cut along \(cut.count) dimensions; at most \(cutDimensions) are supported")
    }
    // A key has the index of a corner in the dimensions that are done, then start and end of the box in the others.
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
    // The first remaining corner, in row-major order, is the first wrong element.
    guard let wrong = entries.min(by: { $0.key.lexicographicallyPrecedes($1.key) }) else { return }
    var index = shape.map { _ in UInt64(0) }
    for (dimension, corner) in zip(cut, wrong.key) { index[dimension] = corner }
    throw problem(at: index, isGap: wrong.value < 0)
  }

  private static func problem(at index: [UInt64], isGap: Bool) -> AssembledTensor.Problem {
    // A shape can have thousands of dimensions, and a message must stay short.
    let shown = index.prefix(cutDimensions).map(String.init).joined(separator: ", ")
    let element = "[\(shown)\(index.count > cutDimensions ? ", …" : "")]"
    return AssembledTensor.Problem(
      clause: isGap
        ? "has a gap: no slice holds its element \(element); download all files of the checkpoint"
        : "has slices that overlap at element \(element)")
  }

  private static func add(_ sign: Int, to key: [UInt64], in entries: inout [[UInt64]: Int]) {
    let sum = entries[key, default: 0] + sign
    entries[key] = sum == 0 ? nil : sum
  }
}
