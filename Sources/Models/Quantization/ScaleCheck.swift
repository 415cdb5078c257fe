internal import Safetensors
package import SystemPackage

/// Detects scales that no writer produces: NaN, infinity, and 0 if the format's writers do not use it.
///
/// If a model has few scales, stmount checks them when it opens the model, and refuses tensors with such a
/// scale. In a larger model, it checks a block's scales when it reads the block.
package struct ScaleCheck {
  /// The maximum number of bytes of scales that are read when a model is opened; see docs/SEMANTICS.md.
  static let limit: UInt64 = 16 << 20
  /// The error of a read that finds such a scale: EDOM, which no file operation returns.
  package static let failure = Errno.outOfDomain
  /// What an error while reading quantised tensors means, as a clause.
  package static func reason(of error: Errno) -> String {
    error == failure ? "a scale is NaN, infinite or 0, so the values would be wrong" : "\(error)"
  }

  private let allowsZero: Bool
  /// The number of scales in a row, and how many of them are used.
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

  /// False if one of these scales is invalid. `first` is the number of the first one, counted row by row.
  package func accepts(_ scales: ArraySlice<Float>, from first: UInt64) -> Bool {
    let refused: Float = allowsZero ? .nan : 0
    var count = 0
    // If a number is not finite, its difference to itself is NaN.
    for scale in scales { count &+= scale - scale != 0 || scale == refused ? 1 : 0 }
    guard count > 0, usedColumns < columns else { return count == 0 }
    return scales.indices.allSatisfy { index in
      !isUsed(first + UInt64(index - scales.startIndex))
        || scales[index].isFinite && (allowsZero || scales[index] != 0)
    }
  }

  private func isUsed(_ scale: UInt64) -> Bool { scale % columns < usedColumns }

  // MARK: - When a model is opened

  /// The tensor with the scales, and a view of them.
  private static func scales(of tensor: QuantizedTensor) -> (place: Model.Place?, view: TensorView) {
    // The first source has codes, the second scales. Nested scales are indices, so check the outer ones.
    if case .nested(_, let outer, _, _) = tensor.arithmetic.scales.form {
      return (tensor.sources.dropFirst(2).first, outer)
    }
    return (tensor.sources.dropFirst().first, tensor.arithmetic.scales.view)
  }

  /// True if all scales of these tensors are few and on a disk, so that they can be read when the model is
  /// opened.
  static func isCheap(_ tensors: [QuantizedTensor], of model: Model) -> Bool {
    var sum: UInt64 = 0
    for tensor in tensors {
      let (total, overflow) = sum.addingReportingOverflow(scales(of: tensor).view.byteCount)
      guard !overflow, total <= limit else { return false }
      sum = total
    }
    return model.shards.allSatisfy { $0.files.allSatisfy { $0.requestSize == nil } }
  }

  /// Reads all scales of a tensor. Refuses the tensor if one of them is invalid.
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
        throw Refusal("cannot read \(label): \(error)")
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

/// The bit layout of a dtype of scales.
private struct ScaleBits {
  /// The size of a scale, in bytes.
  let size: Int
  /// The mask of all bits but the sign, and the largest finite number.
  private let magnitude: UInt32
  private let largest: UInt32
  private let hasInfinity: Bool
  private let hasZero: Bool

  /// Nil for dtypes that no format uses for scales.
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

  /// What is wrong with a scale; nil if it is valid.
  func fault(_ bytes: [UInt8], _ index: Int, allowsZero: Bool) -> String? {
    var bits: UInt32 = 0
    for byte in 0..<size { bits |= UInt32(bytes[index * size + byte]) << UInt32(8 * byte) }
    bits &= magnitude
    if bits > largest { return hasInfinity && bits == largest + 1 ? "infinite" : "NaN" }
    return bits == 0 && hasZero && !allowsZero ? "0" : nil
  }
}
