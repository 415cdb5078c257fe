import Models
import Safetensors
import SystemPackage
import TensorFiles

extension FileLayout {
  /// Reads `count` bytes from `offset` on into the beginning of `bytes`, which has room for them. `tensor` is the tensor, for
  /// messages.
  func read(from offset: UInt64, _ count: Int, into bytes: inout [UInt8], of tensor: Tensor) throws(Failure) {
    var failure: Errno?
    unsafe bytes.withUnsafeMutableBytes { bytes in
      var target = unsafe MutableRawSpan(_unsafeBytes: bytes.prefix(count))
      do throws(Errno) {
        try fill(&target, from: offset)
      } catch {
        failure = error
      }
    }
    guard let failure else { return }
    let file = sources(of: 0..<byteCount).first?.file
    if let file, case .changed = file.verdict() { throw Failure(file.changed) }
    throw .reading(
      failure, "\(file?.path.printable ?? "the source"): cannot read tensor \(tensor.name)")
  }
}
