package import Safetensors
internal import Synchronization
package import SystemPackage

/// Caches data that the next request will probably need again, within a memory budget: parts of tensors that
/// are read across their rows, and unpacked zero points.
package final class StripeCache: Sendable {
  /// The part of a quantised tensor that a stripe comes from.
  package enum Role: Sendable { case codes, scales, outerScales, zeros, groupIndex }

  /// Identifies a stripe. A model's tensors share the cache, and their names are unique.
  package struct Key: Hashable, Sendable {
    private let tensor: TensorName
    private let role: Role
    private let stripe: UInt64

    package init(_ tensor: TensorName, _ role: Role, _ stripe: UInt64) {
      self.tensor = tensor
      self.role = role
      self.stripe = stripe
    }
  }

  private struct Entry {
    let bytes: [UInt8]
    var lastUse: UInt64
  }

  private struct State {
    var entries: [Key: Entry] = [:]
    var size = 0
    var uses: UInt64 = 0
  }

  private let budget: Int
  private let state = Mutex(State())

  /// Creates a cache of at most `budget` bytes.
  package init(budget: Int = 32 << 20) { self.budget = budget }

  /// The bytes of a stripe; calls `make` if they are not cached. Two threads may make the same stripe
  /// concurrently.
  package func bytes(_ key: Key, make: () throws(Errno) -> [UInt8]) throws(Errno) -> [UInt8] {
    let known = state.withLock { state -> [UInt8]? in
      state.uses += 1
      state.entries[key]?.lastUse = state.uses
      return state.entries[key]?.bytes
    }
    if let known { return known }
    let bytes = try make()
    state.withLock { state in
      guard bytes.count <= budget, state.entries[key] == nil else { return }
      state.entries[key] = Entry(bytes: bytes, lastUse: state.uses)
      state.size += bytes.count
      // A linear search suffices: stripes are large, so there are few.
      while state.size > budget, let oldest = state.entries.min(by: { $0.value.lastUse < $1.value.lastUse }) {
        state.size -= oldest.value.bytes.count
        state.entries[oldest.key] = nil
      }
    }
    return bytes
  }
}

extension TensorView {
  /// How many bytes are read at a time if a view's rows are not contiguous in the file.
  private static let stripeSize: UInt64 = 1 << 20

  /// Fills `target` from `offset` of a view. Uses the cache if the file has the bytes in another order. `key`
  /// makes the key of each stripe.
  package func read(
    from offset: UInt64, into target: inout MutableRawSpan, through cache: StripeCache,
    _ key: (_ stripe: UInt64) -> StripeCache.Key
  ) throws(Errno) {
    guard isScattered else {
      try read(from: offset, into: &target)
      return
    }
    // Whole rows of the view, so that each read of the file brings in as many neighbours as possible.
    let rowBytes = columns * dtype.bitSize / 8
    let stripe = rowBytes < Self.stripeSize ? Self.stripeSize / rowBytes * rowBytes : Self.stripeSize
    var position: UInt64 = 0
    let count = UInt64(target.byteCount)
    while position < count {
      let index = (offset + position) / stripe
      let start = index * stripe
      let bytes = try cache.bytes(key(index)) { () throws(Errno) in
        try read(start..<min(start + stripe, byteCount))
      }
      let first = offset + position - start
      let part = min(count - position, UInt64(bytes.count) - first)
      var slot = target._mutatingExtracting(Int(position)..<Int(position + part))
      unsafe bytes.span.bytes.extracting(Int(first)..<Int(first + part)).withUnsafeBytes { source in
        unsafe slot.withUnsafeMutableBytes { unsafe $0.copyMemory(from: source) }
      }
      position += part
    }
  }
}
