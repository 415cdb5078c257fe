/// Tables of bitsandbytes' 4-bit codes.
package enum FourBitTables {
  /// The values of NF4 codes, from the reference's source.
  package static let normalFloats: [Float] = [
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023,
    1.0,
  ]

  /// The values of FP4 codes, in twelfths. As in the reference's table, the code of negative zero is 0.
  package static let bitsAndBytesFloats: [Float] = {
    let positive = [0, 0.0625, 8, 12, 4, 6, 2, 3].map { (value: Float) in value / 12 }
    return positive + positive.map { $0 == 0 ? 0 : -$0 }
  }()
}
