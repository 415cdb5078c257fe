internal import Safetensors
internal import SystemPackage

/// Why a module is not dequantised, as a clause; safe to print.
struct Refusal: Error {
  let reason: String

  init(_ reason: String) { self.reason = reason }
}

/// Finds tensors of a model by name.
struct TensorIndex {
  let model: Model
  /// Where searches begin: the parts of a module are near each other.
  var hint = 0

  /// The tensor with this name, or nil. Takes time logarithmic in its distance from the hint.
  func place(of name: TensorName) -> Model.Place? {
    let count = model.places.count
    func order(_ index: Int) -> Int { compareBytes(model.name(at: model.places[index]).utf8, name.utf8) }
    guard hint < count else { return nil }
    var (low, high, step) = (0, count, 1)
    if order(hint) < 0 {
      while step < count - hint, order(hint + step) < 0 { step *= 2 }
      (low, high) = (hint + step / 2, min(count, hint + step + 1))
    } else {
      while step <= hint, order(hint - step) > 0 { step *= 2 }
      (low, high) = (max(0, hint - step), hint - step / 2 + 1)
    }
    let found = (low..<high).partitionPoint { order($0) < 0 }
    return found < high && order(found) == 0 ? model.places[found] : nil
  }

  func part(_ name: TensorName) -> TensorPart? {
    place(of: name).map { TensorPart(place: $0, tensor: model.tensor(at: $0), shard: model.shard(at: $0)) }
  }
}

/// One tensor of a quantised module.
struct TensorPart {
  let place: Model.Place
  let tensor: Tensor
  let shard: Shard

  var dtype: DType { tensor.dtype }
  var shape: [UInt64] { Array(tensor.shape) }
  /// The last component of the name, for messages.
  var label: String {
    let name = tensor.name.utf8
    let start = name.lastIndex(of: UInt8(ascii: ".")).map { $0 + 1 } ?? name.startIndex
    return PrintableText.plain(name[start...])
  }

  /// The shape for messages, such as "128x64".
  var size: String { shape.isEmpty ? "a scalar" : shape.map(String.init).joined(separator: "x") }

  /// True for a scalar, or a shape of [1].
  var isSingle: Bool { shape.isEmpty || shape == [1] }

  /// A view of the elements. Refuses an empty tensor.
  func view() throws(Refusal) -> TensorView {
    // No part of a module is itself computed.
    guard !shape.contains(0), let view = TensorView(tensor, of: shard) else {
      throw Refusal("\(label) is empty")
    }
    return view
  }

  /// A view with the last two dimensions exchanged. Refuses assembled tensors, which are read row by row.
  func transposedView() throws(Refusal) -> TensorView {
    guard let view = try view().transposed else {
      throw Refusal("\(label) is assembled from slices, which cannot be read by columns")
    }
    return view
  }

  /// A view of the bytes. Refuses elements that are not contiguous.
  func bytesView() throws(Refusal) -> TensorView {
    guard let view = try view().bytes else {
      throw Refusal("the elements of \(label) are not contiguous")
    }
    return view
  }

  /// Reads the tensor's bytes. Refuses more than `limit` bytes.
  func bytes(limit: UInt64 = 64 << 20) throws(Refusal) -> [UInt8] {
    guard tensor.byteCount <= limit else {
      throw Refusal(
        "\(label) has \(tensor.byteCount) bytes, over the limit of \(limit) bytes for such a tensor")
    }
    do throws(Errno) {
      return try shard.read(tensor, 0..<tensor.byteCount)
    } catch {
      throw Refusal("cannot read \(label): \(error)")
    }
  }

  /// Reads the elements of an I32 or I64 tensor.
  func integers() throws(Refusal) -> [Int] {
    let bytes = try bytes()
    let width = dtype == .i64 ? 8 : 4
    guard dtype == .i64 || dtype == .i32 else { throw Refusal("\(label) is \(dtype.name), not I32") }
    return stride(from: 0, to: bytes.count - width + 1, by: width).map { start in
      let word = bytes[start..<start + width].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      return width == 8
        ? Int(Int64(bitPattern: word)) : Int(Int32(truncatingIfNeeded: Int64(bitPattern: word)))
    }
  }

  /// Reads the elements of an F32 tensor.
  func floats() throws(Refusal) -> [Float] {
    guard dtype == .f32 else { throw Refusal("\(label) is \(dtype.name), not F32") }
    let bytes = try bytes()
    return stride(from: 0, to: bytes.count - 3, by: 4).map { start in
      Float(bitPattern: bytes[start..<start + 4].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) })
    }
  }

  /// Reads the only number of a tensor-wide scale.
  ///
  /// Refuses NaN, infinity, zero and negative numbers: they would destroy every number of the tensor.
  func singleScale() throws(Refusal) -> Float {
    let bytes = try bytes(limit: 8)
    var bits: UInt32 = 0
    for byte in bytes.prefix(4).reversed() { bits = bits << 8 | UInt32(byte) }
    let value: Float
    switch dtype {
    case .f32: value = Float(bitPattern: bits)
    case .bf16: value = Float(bitPattern: bits << 16)
    case .f16: value = Float(Float16(bitPattern: UInt16(truncatingIfNeeded: bits)))
    case .f8e8m0, .u8:
      value = bits == 0xFF ? .nan : Float(sign: .plus, exponent: Int(bits) - 127, significand: 1)
    default: throw Refusal("\(label) is \(dtype.name), which is no dtype of scales")
    }
    guard value.isFinite, value > 0 else {
      throw Refusal("\(label) is \(value), not a finite positive number")
    }
    return value
  }
}

/// A quantised module: its tensors, which share a prefix, and the configuration.
struct QuantizedModule {
  let index: TensorIndex
  let config: QuantizationConfig
  let schemes: CompressionSchemes
  /// The tensor by which the module was recognised.
  let key: TensorPart
  /// The common prefix of the module's tensors, with its dot.
  let prefix: ArraySlice<UInt8>

  /// The prefix without its dot.
  var name: ArraySlice<UInt8> { prefix.last == UInt8(ascii: ".") ? prefix.dropLast() : prefix }

  /// The tensor with this suffix, or nil.
  func part(_ suffix: String) -> TensorPart? { index.part(TensorName(utf8: prefix + suffix.utf8)) }

  /// The tensor whose name is the key's name plus `addition`, or nil.
  func sibling(_ addition: String) -> TensorPart? {
    index.part(TensorName(utf8: key.tensor.name.utf8 + addition.utf8))
  }

  /// The tensor with this suffix. Refuses if it is missing or has another dtype.
  func require(_ suffix: String, _ dtypes: DType...) throws(Refusal) -> TensorPart {
    guard let part = part(suffix) else { throw Refusal("\(suffix) is missing") }
    try part.require(dtypes)
    return part
  }

  /// Refuses a module with parts of another format, since its own format is in doubt.
  func refuseOthers(_ suffixes: String...) throws(Refusal) {
    for suffix in suffixes where part(suffix) != nil {
      throw Refusal("it has \(suffix), which its format does not use")
    }
  }

  /// Refuses modules whose weight alone is not the layer.
  func refuseTransformed() throws(Refusal) {
    for name in ["pre_quant_scale", "svdquant_lora_a", "svdquant_lora_b"] where part(name) != nil {
      throw Refusal("\(name) is part of the layer, so the weight alone is not enough")
    }
  }
}

extension TensorPart {
  /// Refuses any other dtype.
  func require(_ dtypes: [DType]) throws(Refusal) {
    guard dtypes.contains(dtype) else {
      let names = dtypes.map(\.name).joined(separator: " or ")
      throw Refusal("\(label) is \(dtype.name), not \(names)")
    }
  }

  /// Refuses any other shape; `why` says what requires it.
  func require(shape wanted: [UInt64], _ why: @autoclosure () -> String) throws(Refusal) {
    guard shape == wanted else {
      throw Refusal(
        "\(label) is \(size); expected \(wanted.map(String.init).joined(separator: "x")) for \(why())")
    }
  }

  /// A view of this group index, one group per column. Nil if columns are grouped in order, or if the index
  /// was never set.
  func groupIndex(columns: UInt64, groups: UInt64) throws(Refusal) -> TensorView? {
    try require([.i32])
    try require(shape: [columns], "\(PrintableText.counted(columns, "column"))")
    let index = try integers()
    if index.contains(-1) { return nil }
    var counts = [UInt64](repeating: 0, count: Int(groups))
    for group in index {
      guard counts.indices.contains(group) else {
        throw Refusal("\(label) contains \(group), but there are \(PrintableText.counted(groups, "group"))")
      }
      counts[group] += 1
    }
    guard counts.allSatisfy({ $0 == columns / groups }) else {
      throw Refusal("\(label) makes groups of different sizes")
    }
    let size = Int(columns / groups)
    let isUsual = index.enumerated().allSatisfy { $0.element == $0.offset / size }
    return isUsual ? nil : try view()
  }

  /// The dimensions of a matrix. Refuses any other shape, and empty matrices.
  func matrix() throws(Refusal) -> (rows: UInt64, columns: UInt64) {
    guard shape.count == 2 else { throw Refusal("\(label) is \(size), not a matrix") }
    guard !shape.contains(0) else { throw Refusal("\(label) is empty") }
    return (shape[0], shape[1])
  }
}

/// Dtypes of scales.
let scaleTypes: [DType] = [.f32, .bf16, .f16]

/// The product of sizes. Refuses if that many float32 elements would exceed the maximum size of a file.
func product(_ sizes: [UInt64]) throws(Refusal) -> UInt64 {
  var product: UInt64 = 1
  for size in sizes {
    let (next, overflow) = product.multipliedReportingOverflow(by: size)
    guard !overflow, next <= UInt64(Int64.max) / 4 else {
      throw Refusal("its float32 elements would exceed the maximum size of a file")
    }
    product = next
  }
  return product
}

/// `count` divided by `size`, rounded up. `size` must not be 0.
func divided(_ count: UInt64, by size: UInt64) -> UInt64 { count / size + (count % size == 0 ? 0 : 1) }
