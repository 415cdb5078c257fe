internal import Models
internal import Safetensors

/// SHA-256 (FIPS 180-4), for the names that are too long to be shown.
///
/// Written out here because it is used on a handful of names, where a cryptography library would be the larger
/// part of the program.
struct SHA256 {
  /// The digest of a message, 32 bytes.
  static func digest(_ message: Span<UInt8>) -> [UInt8] {
    var state: State = [
      0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
    ]
    let wholeBlocks = message.count / 64 * 64
    for start in stride(from: 0, to: wholeBlocks, by: 64) {
      compress(message.extracting(start..<start + 64), into: &state)
    }
    var tail = (wholeBlocks..<message.count).map { message[$0] } + [0x80]
    while tail.count % 64 != 56 { tail.append(0) }
    let bitCount = UInt64(message.count) * 8
    for shift in stride(from: 56, through: 0, by: -8) {
      tail.append(UInt8(truncatingIfNeeded: bitCount >> UInt64(shift)))
    }
    for start in stride(from: 0, to: tail.count, by: 64) {
      compress(tail.span.extracting(start..<start + 64), into: &state)
    }
    return state.indices.flatMap { index in
      [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: state[index] >> UInt32($0)) }
    }
  }

  /// The first digits of a message's digest, as sha256sum(1) prints them.
  static func hexPrefix(of message: ArraySlice<UInt8>, digits: Int) -> [UInt8] {
    let alphabet = Array("0123456789abcdef".utf8)
    return Array(
      digest(message.span).flatMap { [alphabet[Int($0 >> 4)], alphabet[Int($0 & 15)]] }.prefix(digits))
  }

  private typealias State = InlineArray<8, UInt32>

  /// `block` has 64 bytes.
  private static func compress(_ block: Span<UInt8>, into state: inout State) {
    // The last 16 words of the schedule: no later word needs an earlier one.
    var schedule = InlineArray<16, UInt32> { index in
      (0..<4).reduce(0) { $0 << 8 | UInt32(block[index * 4 + $1]) }
    }
    var (a, b, c, d) = (state[0], state[1], state[2], state[3])
    var (e, f, g, h) = (state[4], state[5], state[6], state[7])
    for index in 0..<64 {
      if index >= 16 {
        let before15 = schedule[(index + 1) & 15]
        let before2 = schedule[(index + 14) & 15]
        let sigma0 = rotate(before15, 7) ^ rotate(before15, 18) ^ (before15 >> 3)
        let sigma1 = rotate(before2, 17) ^ rotate(before2, 19) ^ (before2 >> 10)
        schedule[index & 15] &+= sigma0 &+ schedule[(index + 9) & 15] &+ sigma1
      }
      let sum1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)
      let choice = (e & f) ^ (~e & g)
      let first = h &+ sum1 &+ choice &+ roundConstants[index] &+ schedule[index & 15]
      let sum0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)
      let majority = (a & b) ^ (a & c) ^ (b & c)
      (h, g, f, e, d, c, b, a) = (g, f, e, d &+ first, c, b, a, first &+ sum0 &+ majority)
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

  private static func rotate(_ word: UInt32, _ count: UInt32) -> UInt32 {
    word >> count | word << (32 - count)
  }

  private static let roundConstants: InlineArray<64, UInt32> = [
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
