internal import Models
internal import Safetensors
internal import SystemPackage

/// A tensor of PyTorch or NumPy whose elements are not contiguous in the file, in row-major order.
struct StridedElements: ComputedElements {
  let byteCount: UInt64
  private let reader: StridedReader
  private let file: SourceFile

  /// A tensor with strides whose first element is at `start` of a file.
  init(_ tensor: Tensor, at start: UInt64, of file: SourceFile) {
    byteCount = tensor.byteCount
    self.file = file
    reader = StridedReader(tensor, at: start)
  }

  func sources(of range: Range<UInt64>) -> [FileRange] { [FileRange(0..<0, of: file)] }

  func fill(_ target: inout MutableRawSpan, from offset: UInt64) throws(Errno) {
    try reader.read(from: offset, of: file, into: &target)
  }
}
