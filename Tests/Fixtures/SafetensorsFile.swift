/// A safetensors file in memory, valid or deliberately invalid.
///
///     SafetensorsFile(.init("weight", "F32", [2, 3]), .init("bias", "F32", [3])).bytes
public struct SafetensorsFile: Sendable {
  /// One tensor of the file.
  public struct Tensor: Sendable {
    /// The bytes of the name, without the header's escapes.
    public var name: [UInt8]
    /// The name of the dtype in the header.
    public var dtype: String
    /// The dimensions.
    public var shape: [Int]
    /// The contents.
    public var data: [UInt8]

    /// Makes a tensor. Without `data`, its contents depend only on its name, dtype and shape.
    public init(_ name: String, _ dtype: String, _ shape: [Int], data: [UInt8]? = nil) {
      self.init(name: Array(name.utf8), dtype, shape, data: data)
    }

    /// Makes a tensor whose name can be any bytes, even invalid UTF-8.
    public init(name: [UInt8], _ dtype: String, _ shape: [Int], data: [UInt8]? = nil) {
      self.name = name
      self.dtype = dtype
      self.shape = shape
      // FNV-1a makes the contents of two tensors differ.
      let seed = name.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
      self.data = data ?? TensorData.bytes(dtype, shape, seed: seed)
    }
  }

  /// The tensors, in the order of the header.
  public var tensors: [Tensor]
  /// The entries of `__metadata__`, in order; nil for none.
  public var metadata: KeyValuePairs<String, String>?
  /// The order of the data: positions in ``tensors``. Nil means the order of the header.
  public var dataOrder: [Int]?
  /// The number of spaces after the header's JSON. Nil pads the header to a multiple of 8 bytes, as writers do. Other numbers let
  /// the data begin at an odd offset.
  public var padding: Int?
  /// Replaces the header's JSON and its padding.
  public var rawHeader: [UInt8]?
  /// Bytes after the last tensor, which make the file invalid.
  public var trailing: [UInt8] = []

  /// A file of these tensors.
  public init(
    _ tensors: [Tensor], metadata: KeyValuePairs<String, String>? = nil, dataOrder: [Int]? = nil,
    padding: Int? = nil
  ) {
    self.tensors = tensors
    self.metadata = metadata
    self.dataOrder = dataOrder
    self.padding = padding
  }

  /// A file of these tensors.
  public init(_ tensors: Tensor...) { self.init(tensors) }

  /// A file with exactly this header, and this data after it.
  public init(header: String, data: [UInt8] = []) {
    self.init(header: Array(header.utf8), data: data)
  }

  /// A file with exactly this header, and this data after it.
  public init(header: [UInt8], data: [UInt8] = []) {
    self.init([])
    rawHeader = header
    trailing = data
  }

  /// The header's JSON, with its padding.
  public var header: [UInt8] {
    if let rawHeader { return rawHeader }
    let ranges = dataRanges
    var entries: [(key: [UInt8], value: [UInt8])] = []
    if let metadata {
      let pairs = metadata.map { (JSONText.string($0.key.utf8), JSONText.string($0.value.utf8)) }
      entries.append((JSONText.string("__metadata__".utf8), JSONText.object(pairs)))
    }
    for (tensor, range) in zip(tensors, ranges) {
      let shape = tensor.shape.map(String.init).joined(separator: ",")
      let value =
        "\"dtype\":\"\(tensor.dtype)\",\"shape\":[\(shape)],"
        + "\"data_offsets\":[\(range.lowerBound),\(range.upperBound)]"
      entries.append((JSONText.string(tensor.name), Array("{\(value)}".utf8)))
    }
    let json = JSONText.object(entries)
    return json + Array(repeating: UInt8(ascii: " "), count: padding ?? (8 - json.count % 8) % 8)
  }

  /// The offset of the data in the file.
  public var dataStart: Int { 8 + header.count }

  /// The range of each of ``tensors`` in the data.
  public var dataRanges: [Range<Int>] {
    var ranges = Array(repeating: 0..<0, count: tensors.count)
    var end = 0
    for position in dataOrder ?? Array(tensors.indices) {
      ranges[position] = end..<end + tensors[position].data.count
      end = ranges[position].upperBound
    }
    return ranges
  }

  /// The whole file.
  public var bytes: [UInt8] {
    let header = header
    let length = UInt64(header.count)
    let prefix = (0..<8).map { UInt8(truncatingIfNeeded: length >> UInt64(8 * $0)) }
    let data = (dataOrder ?? Array(tensors.indices)).flatMap { tensors[$0].data }
    return prefix + header + data + trailing
  }
}
