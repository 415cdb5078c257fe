package import Models
package import Safetensors

/// An array in a file of NumPy's NPY format, versions 1.0 to 3.0.
///
/// Arrays that cannot be tensors are refused: objects (pickles), records, other byte orders, and types
/// that safetensors lacks.
package struct NPYArray: Sendable {
  /// The type of the elements.
  package let dtype: DType
  /// The dimensions, outermost first.
  package let shape: [UInt64]
  /// The range of the elements in the file, up to its end.
  package let dataRange: Range<UInt64>

  /// The distance between neighbours in elements, for each dimension, if the array is in Fortran order and differs from C order.
  private let strides: [UInt64]?

  /// The maximum size of the header, in bytes. NumPy's default limit is 10,000.
  private static let maximumHeader = 1 << 20

  /// Reads the header of an open file, and checks it against the file's size.
  package init(of file: SourceFile) throws(ModelError) {
    do {
      try self.init(size: file.size) { offset, count in try file.read(from: offset, count: count) }
    } catch let error as NPYError {
      throw ModelError(.malformed, file.path, error.problem)
    } catch {
      throw ModelError(.system, file.path, "cannot read it: \(error)")
    }
  }

  /// Reads a header through `read`, which returns that many bytes from an offset below `size`.
  package init(size: UInt64, read: (_ offset: UInt64, _ count: Int) throws -> [UInt8]) throws {
    let start = try read(0, Int(min(size, 12)))
    guard start.starts(with: [0x93] + Array("NUMPY".utf8)), start.count == 12 else {
      throw NPYError("it is not a NumPy array: it does not begin with its magic bytes")
    }
    let lengthCount: Int
    switch (start[6], start[7]) {
    case (1, 0): lengthCount = 2
    case (2, 0), (3, 0): lengthCount = 4
    default:
      throw NPYError("it is of version \(start[6]).\(start[7]) of NumPy's format, which is not supported")
    }
    var length = 0
    for byte in start[8..<8 + lengthCount].reversed() { length = length << 8 | Int(byte) }
    guard length <= Self.maximumHeader else {
      throw NPYError("its header of \(length) bytes is over the limit of \(Self.maximumHeader)")
    }
    let dataStart = UInt64(8 + lengthCount + length)
    guard dataStart <= size else { throw NPYError("truncated in its header") }
    let header = try NPYDictionary(try read(UInt64(8 + lengthCount), length))

    dtype = try Self.dtype(header.description)
    let shape = header.shape
    self.shape = shape
    guard let byteCount = dtype.byteCount(of: shape[...]) else {
      throw NPYError("it has a shape whose size does not fit in 64 bits")
    }
    guard byteCount == size - dataStart else {
      throw NPYError(
        "it has \(size - dataStart) bytes of elements, but \(byteCount) by its type and shape")
    }
    dataRange = dataStart..<size
    // Cannot overflow: the size of the whole does not.
    strides =
      header.isFortranOrder && shape.count > 1 && byteCount > 0
      ? shape.indices.map { shape[..<$0].reduce(1, *) } : nil
  }

  private static let dtypes = [String: DType](
    uniqueKeysWithValues: DType.allCases.compactMap { dtype in
      dtype.numPyName.map { ("\($0)", dtype) }
    })

  private static func dtype(_ description: [UInt8]) throws(NPYError) -> DType {
    let name = String(decoding: description, as: UTF8.self)
    // A byte has no order.
    let isByte = name.count == 3 && name.hasSuffix("1") && name.hasPrefix("<")
    if let dtype = dtypes[isByte ? "|" + name.dropFirst() : name] { return dtype }
    let shown = PrintableText.quoted(description)
    switch name.first {
    case ">":
      // Unknown text occurs only in quotes.
      let native = "<" + name.dropFirst()
      let remedy = dtypes[native] == nil ? "" : "; convert it: array.astype('\(native)')"
      throw NPYError("its elements are big-endian (\(shown))" + remedy)
    case "|" where name.hasPrefix("|O"):
      throw NPYError("its elements are Python objects, which would run code")
    default: throw NPYError("safetensors has no dtype for its elements, \(shown)")
    }
  }
}

extension NPYArray {
  /// The array as a tensor of that name, with its elements in the order of the file.
  package func tensor(_ name: TensorName) -> Tensor {
    var tensor = Tensor(
      name: name, dtype: dtype, shape: shape[...], writtenTo: 0..<dataRange.upperBound - dataRange.lowerBound)
    tensor.strides = strides?[...]
    return tensor
  }
}

extension FileLayout {
  /// The elements of an array in its file, in row-major order.
  package init?(of array: NPYArray, in file: SourceFile) {
    let tensor = array.tensor(TensorName(""))
    let segment: Segment =
      tensor.isContiguous
      ? .file(FileRange(array.dataRange, of: file))
      : .computed(StridedElements(tensor, at: array.dataRange.lowerBound, of: file))
    self.init(CollectionOfOne(segment))
  }
}

/// The problem of a NumPy file, as a clause; safe to print.
package struct NPYError: Error {
  package let problem: String

  package init(_ problem: String) { self.problem = problem }
}

/// The dictionary in an NPY header: a Python literal with the keys `descr`, `fortran_order` and `shape`, each once.
package struct NPYDictionary {
  private(set) var description: [UInt8] = []
  private(set) var isFortranOrder = false
  private(set) var shape: [UInt64] = []

  private let text: [UInt8]
  private var position = 0

  /// Reads the literal, which only white space may follow.
  package init(_ text: [UInt8]) throws(NPYError) {
    self.text = text
    var seen: Set<[UInt8]> = []
    try expect("{")
    while !take("}") {
      let key = try string()
      guard seen.insert(key).inserted else { throw problem("a new key") }
      try expect(":")
      switch String(decoding: key, as: UTF8.self) {
      case "descr": description = try typeName()
      case "fortran_order": isFortranOrder = try bool()
      case "shape": shape = try tuple()
      default: throw problem("one of the keys descr, fortran_order and shape before this")
      }
      if !take(",") {
        try expect("}")
        break
      }
    }
    skipSpace()
    guard position == text.count else { throw problem("nothing more") }
    guard seen.count == 3 else { throw problem("descr, fortran_order and shape before this") }
  }

  private func problem(_ wanted: String) -> NPYError {
    NPYError("invalid NumPy header at byte \(position): expected \(wanted)")
  }

  private var next: UInt8? { position < text.count ? text[position] : nil }

  private mutating func skipSpace() {
    while let next, next == 0x20 || (0x09...0x0D).contains(next) { position += 1 }
  }

  private mutating func take(_ word: StaticString) -> Bool {
    skipSpace()
    let matches = word.withUTF8Buffer { unsafe text[position...].starts(with: $0) }
    if matches { position += word.utf8CodeUnitCount }
    return matches
  }

  private mutating func expect(_ word: StaticString) throws(NPYError) {
    guard take(word) else { throw problem("'\(word)'") }
  }

  /// A string in single or double quotes, without escapes.
  private mutating func string() throws(NPYError) -> [UInt8] {
    skipSpace()
    guard let quote = next, quote == UInt8(ascii: "'") || quote == UInt8(ascii: "\"") else {
      throw problem("a string")
    }
    let rest = text[(position + 1)...]
    guard let end = rest.firstIndex(of: quote) else { throw problem("a string that ends") }
    let content = Array(rest[..<end])
    guard !content.contains(UInt8(ascii: "\\")) else { throw problem("a string without escapes") }
    position = end + 1
    return content
  }

  private mutating func typeName() throws(NPYError) -> [UInt8] {
    skipSpace()
    guard next != UInt8(ascii: "[") else {
      throw NPYError("its elements are records of several fields; save each field by itself")
    }
    return try string()
  }

  private mutating func bool() throws(NPYError) -> Bool {
    if take("True") { return true }
    try expect("False")
    return false
  }

  private mutating func tuple() throws(NPYError) -> [UInt64] {
    var elements: [UInt64] = []
    try expect("(")
    while !take(")") {
      elements.append(try integer())
      if !take(",") {
        // (3) is a number in Python.
        guard elements.count > 1 else { throw problem("','") }
        try expect(")")
        break
      }
    }
    return elements
  }

  private mutating func integer() throws(NPYError) -> UInt64 {
    skipSpace()
    let digits = text[position...].prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    guard let value = UInt64(String(decoding: digits, as: UTF8.self)),
      digits.count == 1 || digits.first != UInt8(ascii: "0")
    else { throw problem("a dimension") }
    position = digits.endIndex
    return value
  }
}
