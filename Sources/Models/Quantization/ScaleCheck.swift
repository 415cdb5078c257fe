internal import Safetensors
package import SystemPackage

/// Finds scales that no writer computes: NaN, infinity, and 0 where the format's writers do not have it.
///
/// Those of a model that has few are checked when it is opened, and a tensor with such a scale is refused. In a larger model a
/// block is checked when it is read.
package struct ScaleCheck {
  /// How many bytes of scales are read when a model is opened; see docs/SEMANTICS.md.
  static let limit: UInt64 = 16 << 20
  /// What reading a number with such a scale fails with: EDOM, which no call on a file gives.
  package static let failure = Errno.outOfDomain
  /// What an error of reading quantised tensors means, as a clause.
  package static func reason(of error: Errno) -> String {
    error == failure ? "a scale is NaN, infinite or 0, so the numbers are in doubt" : "\(error)"
  }

  private let allowsZero: Bool
  /// How many scales a row of them has, and how many of these are used.
  private let columns: UInt64
  private let usedColumns: UInt64

  package init(of tensor: QuantizedTensor) {
    allowsZero = tensor.format.hasZeroScales
    let arithmetic = tensor.arithmetic
    let grid = arithmetic.scales.blocks
    columns = grid.columns
    let needed = arithmetic.columns / grid.columnBlock + (arithmetic.columns % grid.columnBlock == 0 ? 0 : 1)
    usedColumns = arithmetic.groupIndex == nil ? min(needed, columns) : columns
  }

  /// False if one of these scales is NaN, infinite, or 0 where that is refused. `first` is the number of the first one, counted
  /// row by row.
  package func accepts(_ scales: ArraySlice<Float>, from first: UInt64) -> Bool {
    let refused: Float = allowsZero ? .nan : 0
    var count = 0
    // Of all that is not finite, the difference is NaN.
    for scale in scales { count &+= scale - scale != 0 || scale == refused ? 1 : 0 }
    guard count > 0, usedColumns < columns else { return count == 0 }
    return scales.indices.allSatisfy { index in
      !isUsed(first + UInt64(index - scales.startIndex))
        || scales[index].isFinite && (allowsZero || scales[index] != 0)
    }
  }

  private func isUsed(_ scale: UInt64) -> Bool { scale % columns < usedColumns }

  // MARK: - When a model is opened

  /// The tensor that has the scales, and what they are read by.
  private static func scales(of tensor: QuantizedTensor) -> (place: Model.Place?, view: TensorView) {
    // The first source has the codes, the second one their scales; nested ones are indices.
    if case .nested(_, let outer, _, _) = tensor.arithmetic.scales.form {
      return (tensor.sources.dropFirst(2).first, outer)
    }
    return (tensor.sources.dropFirst().first, tensor.arithmetic.scales.view)
  }

  /// True if the scales of all these tensors are few enough to be read when the model is opened, and on a disk.
  static func isCheap(_ tensors: [QuantizedTensor], of model: Model) -> Bool {
    var sum: UInt64 = 0
    for tensor in tensors {
      let (total, overflow) = sum.addingReportingOverflow(scales(of: tensor).view.byteCount)
      guard !overflow, total <= limit else { return false }
      sum = total
    }
    return model.shards.allSatisfy { $0.files.allSatisfy { $0.requestSize == nil } }
  }

  /// Refuses a tensor with a scale that no writer computes. Reads all of them.
  static func check(_ tensor: QuantizedTensor, of model: Model) throws(Refusal) {
    let (place, view) = scales(of: tensor)
    guard let place, let form = ScaleBits(view.dtype) else { return }
    let check = ScaleCheck(of: tensor)
    var label: String {
      TensorPart(place: place, tensor: model.tensor(at: place), shard: model.shard(at: place)).label
    }
    let isIndexed = if case .nested = tensor.arithmetic.scales.form { true } else { false }
    var offset: UInt64 = 0
    while offset < view.byteCount {
      let end = min(offset + 256 << 10, view.byteCount)
      let bytes: [UInt8]
      do throws(Errno) {
        bytes = try view.read(offset..<end)
      } catch {
        throw Refusal("\(label) cannot be read: \(error)")
      }
      let first = offset / UInt64(form.size)
      for index in 0..<bytes.count / form.size {
        guard let fault = form.fault(bytes, index, allowsZero: check.allowsZero) else { continue }
        let scale = first + UInt64(index)
        if isIndexed || check.isUsed(scale) { throw Refusal("scale \(scale) of \(label) is \(fault)") }
      }
      offset = end
    }
  }
}

/// How scales of a type look.
private struct ScaleBits {
  /// The size of one, in bytes.
  let size: Int
  /// All bits but the sign, and the largest finite number.
  private let magnitude: UInt32
  private let largest: UInt32
  private let hasInfinity: Bool
  private let hasZero: Bool

  /// Nil for types that no scales have.
  init?(_ dtype: DType) {
    switch dtype {
    case .f32: (size, magnitude, largest, hasInfinity, hasZero) = (4, 0x7FFF_FFFF, 0x7F7F_FFFF, true, true)
    case .bf16: (size, magnitude, largest, hasInfinity, hasZero) = (2, 0x7FFF, 0x7F7F, true, true)
    case .f16: (size, magnitude, largest, hasInfinity, hasZero) = (2, 0x7FFF, 0x7BFF, true, true)
    case .f8e4m3: (size, magnitude, largest, hasInfinity, hasZero) = (1, 0x7F, 0x7E, false, true)
    case .f8e8m0: (size, magnitude, largest, hasInfinity, hasZero) = (1, 0xFF, 0xFE, false, false)
    default: return nil
    }
  }

  /// What is wrong with one of the scales; nil if nothing is.
  func fault(_ bytes: [UInt8], _ index: Int, allowsZero: Bool) -> String? {
    var bits: UInt32 = 0
    for byte in 0..<size { bits |= UInt32(bytes[index * size + byte]) << UInt32(8 * byte) }
    bits &= magnitude
    if bits > largest { return hasInfinity && bits == largest + 1 ? "infinite" : "NaN" }
    return bits == 0 && hasZero && !allowsZero ? "0" : nil
  }
}
