import Models
import SystemPackage
import TensorFiles

/// Computes the first quantised tensor of the model at `path` into `target`, which has room for `size` bytes, in pieces of
/// `step`. Returns how many bytes that are; 0 where there is none, or it cannot be read.
@_cdecl("stmount_dequantize")
@unsafe package func dequantize(
  _ path: UnsafePointer<CChar>, _ target: UnsafeMutableRawPointer, _ size: Int, _ step: Int, _ times: Int
) -> Int {
  let path = unsafe FilePath(platformString: path)
  guard let model = try? ModelCollection(opening: [path]).components.first?.model,
    let tensor = Quantization(of: model).tensors.first
  else { return 0 }
  let elements = DequantizedElements(of: tensor, cache: StripeCache())
  let count = min(Int(elements.byteCount), size)
  for _ in 0..<times {
    for start in stride(from: 0, to: count, by: step) {
      var piece = unsafe MutableRawSpan(_unsafeStart: target + start, byteCount: min(step, count - start))
      do throws(Errno) {
        try elements.fill(&piece, from: UInt64(start))
      } catch {
        return 0
      }
    }
  }
  return count
}
