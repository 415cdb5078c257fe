// The daemon's inner loops as a C function, so that Benchmarks/views can run them and NumPy's on the same memory: where
// pages lie in the processor's caches makes more of a difference than the code does.

import Safetensors
import TensorFiles

/// Widens `count` elements of the dtype of that name; 0 where it cannot be widened. Both sides are as large as that
/// needs, and `target` is aligned to 8 bytes.
@_cdecl("stmount_widen")
@unsafe package func widen(
  _ dtype: UnsafePointer<CChar>, _ source: UnsafeRawPointer, _ target: UnsafeMutableRawPointer, _ count: Int
) -> Int {
  let name = unsafe String(cString: dtype)
  guard let dtype = DType.allCases.first(where: { $0.name == name }), let widening = dtype.widening else {
    return 0
  }
  let narrow = unsafe RawSpan(_unsafeStart: source, byteCount: count * Int(dtype.bitSize) / 8)
  var wide = unsafe MutableRawSpan(_unsafeStart: target, byteCount: count * 4)
  return widening.widen(narrow, into: &wide)
}
