import Models
import Safetensors
import SystemPackage
import TensorFiles

/// Elements of a model that is open.
private final class OpenElements {
  let elements: any ComputedElements

  init(_ elements: any ComputedElements) { self.elements = elements }
}

/// Opens the model at `path` and finds its first quantised tensor, or, with `widens`, its first tensor as float32: what the
/// `.f32` view does. Returns a handle for `stmount_compute`, which stays open; null where there is none.
@_cdecl("stmount_open")
@unsafe package func open(_ path: UnsafePointer<CChar>, _ widens: Bool) -> UnsafeMutableRawPointer? {
  let path = unsafe FilePath(platformString: path)
  guard let model = try? ModelCollection(opening: [path]).components.first?.model else { return nil }
  let elements: any ComputedElements
  if widens {
    guard let place = model.places.first,
      let layout = FileLayout(of: model.tensor(at: place), in: model.shard(at: place)),
      let wide = layout.converted(
        from: model.tensor(at: place).dtype, to: .f32, saturating: false, counting: OverflowCount()),
      case .computed(let computed)? = wide.segments.first
    else { return nil }
    elements = computed
  } else {
    guard let tensor = Quantization(of: model).tensors.first else { return nil }
    elements = DequantizedElements(of: tensor, cache: StripeCache())
  }
  return unsafe Unmanaged.passRetained(OpenElements(elements)).toOpaque()
}

/// Computes all elements of a handle into `target`, which has room for `size` bytes, in pieces of `step`. Returns how many
/// bytes that are; 0 where they cannot be read.
@_cdecl("stmount_compute")
@unsafe package func compute(
  _ handle: UnsafeRawPointer, _ target: UnsafeMutableRawPointer, _ size: Int, _ step: Int
) -> Int {
  let elements = unsafe Unmanaged<OpenElements>.fromOpaque(handle).takeUnretainedValue().elements
  let count = min(Int(elements.byteCount), size)
  for start in stride(from: 0, to: count, by: step) {
    var piece = unsafe MutableRawSpan(_unsafeStart: target + start, byteCount: min(step, count - start))
    do throws(Errno) {
      try elements.fill(&piece, from: UInt64(start))
    } catch {
      return 0
    }
  }
  return count
}
