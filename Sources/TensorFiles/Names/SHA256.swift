internal import CSHA256

/// SHA-256 (FIPS 180-4), for names that are too long and for manifests.
///
/// Written out here because a cryptography library would be a large part of the program: docs/internals/DESIGN.md. With the
/// processor's instructions where it has them.
package struct SHA256 {
  private typealias State = InlineArray<8, UInt32>

  private var state: State = [
    0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
  ]
  /// The bytes of an incomplete block.
  private var pending: [UInt8] = []
  private var byteCount: UInt64 = 0
  private let usesInstructions: Bool

  private static let blockSize = 64

  /// A digest of nothing yet; unless `isPortable`, with the processor's instructions where it has them.
  package init(isPortable: Bool = false) { usesInstructions = Self.hasInstructions && !isPortable }

  /// Adds bytes to the message.
  package mutating func add(_ bytes: RawSpan) {
    byteCount &+= UInt64(bytes.byteCount)
    var rest = bytes
    if !pending.isEmpty {
      let count = min(Self.blockSize - pending.count, rest.byteCount)
      for index in 0..<count { pending.append(unsafe rest.unsafeLoad(fromByteOffset: index, as: UInt8.self)) }
      rest = rest.extracting(count...)
      guard pending.count == Self.blockSize else { return }
      let block = pending
      pending = []
      unsafe compress(block.span.bytes)
    }
    let whole = rest.byteCount / Self.blockSize * Self.blockSize
    compress(rest.extracting(first: whole))
    for index in whole..<rest.byteCount {
      pending.append(unsafe rest.unsafeLoad(fromByteOffset: index, as: UInt8.self))
    }
  }

  /// The digest of the message, 32 bytes.
  package consuming func finish() -> [UInt8] {
    var tail = pending + [0x80]
    while tail.count % Self.blockSize != Self.blockSize - 8 { tail.append(0) }
    let bitCount = byteCount &* 8
    for shift in stride(from: 56, through: 0, by: -8) {
      tail.append(UInt8(truncatingIfNeeded: bitCount >> UInt64(shift)))
    }
    unsafe compress(tail.span.bytes)
    return state.indices.flatMap { index in
      [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: state[index] >> UInt32($0)) }
    }
  }

  /// The digest of a message, 32 bytes.
  static func digest(_ message: Span<UInt8>) -> [UInt8] {
    var hash = SHA256()
    unsafe hash.add(message.bytes)
    return hash.finish()
  }

  /// A digest in hexadecimal digits, as sha256sum(1) prints it.
  package static func hex(_ digest: [UInt8]) -> [UInt8] {
    let alphabet = Array("0123456789abcdef".utf8)
    return digest.flatMap { [alphabet[Int($0 >> 4)], alphabet[Int($0 & 15)]] }
  }

  /// The first digits of a message's digest.
  static func hexPrefix(of message: ArraySlice<UInt8>, digits: Int) -> [UInt8] {
    Array(hex(digest(message.span)).prefix(digits))
  }

  /// Whether the processor has instructions for this.
  private static let hasInstructions = stmount_has_sha256() != 0

  /// Takes in whole blocks. Pointers rather than spans, whose checks would take a third of the time.
  private mutating func compress(_ blocks: RawSpan) {
    unsafe Self.roundConstants.withUnsafeBufferPointer { constants in
      unsafe withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 64) { schedule in
        unsafe blocks.withUnsafeBytes { blocks in
          guard let source = blocks.baseAddress, let words = schedule.baseAddress,
            let constants = constants.baseAddress
          else { return }
          if usesInstructions {
            var words = state.mutableSpan
            unsafe words.withUnsafeMutableBufferPointer { words in
              unsafe stmount_sha256(words.baseAddress, source, blocks.count / Self.blockSize, constants)
            }
            return
          }
          for start in stride(from: 0, to: blocks.count, by: Self.blockSize) {
            unsafe Self.compress(source + start, words, constants, &state)
          }
        }
      }
    }
  }

  /// Processes a block of 64 bytes; `words` has room for the schedule's 64 words, and `constants` has 64.
  @inline(__always)
  private static func compress(
    _ block: UnsafeRawPointer, _ words: UnsafeMutablePointer<UInt32>, _ constants: UnsafePointer<UInt32>,
    _ state: inout State
  ) {
    for index in 0..<16 {
      unsafe words[index] = UInt32(
        bigEndian: block.loadUnaligned(fromByteOffset: index &* 4, as: UInt32.self))
    }
    for index in 16..<64 {
      let (before15, before2) = unsafe (words[index &- 15], words[index &- 2])
      let sigma0 = rotate(before15, 7) ^ rotate(before15, 18) ^ (before15 >> 3)
      let sigma1 = rotate(before2, 17) ^ rotate(before2, 19) ^ (before2 >> 10)
      unsafe words[index] = words[index &- 16] &+ sigma0 &+ words[index &- 7] &+ sigma1
    }
    var (a, b, c, d) = (state[0], state[1], state[2], state[3])
    var (e, f, g, h) = (state[4], state[5], state[6], state[7])
    var index = 0
    // Eight rounds, after which each variable is where it was.
    while index < 64 {
      let (constants, words) = unsafe (constants + index, words + index)
      unsafe round(a, b, c, &d, e, f, g, &h, constants[0] &+ words[0])
      unsafe round(h, a, b, &c, d, e, f, &g, constants[1] &+ words[1])
      unsafe round(g, h, a, &b, c, d, e, &f, constants[2] &+ words[2])
      unsafe round(f, g, h, &a, b, c, d, &e, constants[3] &+ words[3])
      unsafe round(e, f, g, &h, a, b, c, &d, constants[4] &+ words[4])
      unsafe round(d, e, f, &g, h, a, b, &c, constants[5] &+ words[5])
      unsafe round(c, d, e, &f, g, h, a, &b, constants[6] &+ words[6])
      unsafe round(b, c, d, &e, f, g, h, &a, constants[7] &+ words[7])
      index &+= 8
    }
    state[0] &+= a
    state[1] &+= b
    state[2] &+= c
    state[3] &+= d
    state[4] &+= e
    state[5] &+= f
    state[6] &+= g
    state[7] &+= h
  }

  @inline(__always)
  private static func round(
    _ a: UInt32, _ b: UInt32, _ c: UInt32, _ d: inout UInt32, _ e: UInt32, _ f: UInt32, _ g: UInt32,
    _ h: inout UInt32, _ word: UInt32
  ) {
    let sum1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)
    let first = h &+ sum1 &+ (g ^ (e & (f ^ g))) &+ word
    let sum0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)
    d &+= first
    h = first &+ sum0 &+ ((a & b) | (c & (a | b)))
  }

  @inline(__always)
  private static func rotate(_ word: UInt32, _ count: UInt32) -> UInt32 {
    word &>> count | word &<< (32 &- count)
  }

  private static let roundConstants: [UInt32] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
  ]
}
