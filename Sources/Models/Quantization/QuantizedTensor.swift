package import Safetensors

/// A tensor that a model holds as codes, scales and the like, and the numbers that these stand for.
package struct QuantizedTensor: Sendable {
  /// The name under which the reference loader knows the numbers.
  package let name: TensorName
  /// The logical dimensions, outermost first; the elements are float32.
  package let shape: [UInt64]
  /// What the format is called in metadata.json.
  package let format: QuantizationFormat
  /// The tensors that the numbers are computed from, the codes first.
  package let sources: [Model.Place]
  /// How they are computed.
  package let arithmetic: DequantizationArithmetic
  /// What a person should know of it, as a clause; safe to print.
  package var note: String? = nil

  /// The size of the float32 elements in bytes, at most `Int64.max`.
  package var byteCount: UInt64 { arithmetic.count * 4 }
}

/// The formats whose numbers can be computed, under their names in metadata.json.
package enum QuantizationFormat: String, CaseIterable, Sendable {
  case float8 = "fp8"
  case microscaledFloat8 = "mxfp8"
  case int8 = "int8"
  case packedInteger = "pack-quantized"
  case nvfp4 = "nvfp4"
  case microscaledFloat4 = "mxfp4"
  case gptq
  case awq
  case normalFloat4 = "bitsandbytes-nf4"
  case float4 = "bitsandbytes-fp4"
  case bitsAndBytesInt8 = "bitsandbytes-int8"

  /// True where writers give blocks of zeros the scale 0 (bitsandbytes), or round a tiny one to it (NVFP4).
  var hasZeroScales: Bool {
    switch self {
    case .nvfp4, .normalFloat4, .float4, .bitsAndBytesInt8: true
    default: false
    }
  }

  /// The formula of one number, in float32, rounded once after each operation.
  package var formula: String {
    switch self {
    case .float8: "float8(q) * scale"
    case .microscaledFloat8: "float8(q) * 2^(scale - 127)"
    case .int8: "(q - zero) * scale"
    case .packedInteger: "(q - zero) * scale"
    case .nvfp4: "e2m1(q) * scale"
    case .microscaledFloat4: "e2m1(q) * 2^(scale - 127)"
    case .gptq, .awq: "(q - zero) * scale"
    case .normalFloat4: "nf4(q) * absmax"
    case .float4: "fp4(q) * absmax"
    case .bitsAndBytesInt8: "(q * SCB) * 0.007874016"
    }
  }
}

/// The formula from codes and scales to float32: `(value(code) - zero) * scale`, each step rounded to float32.
///
/// The numbers are seen as rows of ``columns`` elements, whatever the tensor's shape is. All products of the sizes here
/// were checked to fit into 63 bits.
package struct DequantizationArithmetic: Sendable {
  /// How many numbers there are; the last row may be incomplete.
  package var count: UInt64
  /// How many numbers there are in a row.
  package var columns: UInt64
  package var codes: QuantizedCodes
  package var scales: ScaleGrid
  /// What is subtracted from each code's value; nil for nothing.
  package var zeros: ZeroPoints?
  /// The group of each column, int32, where columns are not grouped in order: `g_idx`.
  package var groupIndex: TensorView?
  /// What the product is multiplied by, in a step of its own; nil for nothing.
  package var factor: Float?
}

/// Codes of at most 8 bits, and the value of each.
package struct QuantizedCodes: Sendable {
  /// How the codes of a row are packed.
  package enum Packing: Sendable, Equatable {
    /// A stream of bits, the lowest of each byte first. Every row begins at a byte.
    case stream
    /// As many whole codes as fit into 32 bits, the lowest first; the bits left over are empty.
    case words
    /// Two codes in a byte, the high half first.
    case highNibbleFirst
    /// Two rows in each row of bytes, the first one's codes in the low halves.
    case bytePlanes
    /// Eight rows in each row of 32-bit words; row `8k + j` is in bits `4 * awqOrder[j]` and up.
    case wordPlanes
  }

  /// The number that a code stands for.
  package enum Values: Sendable, Hashable {
    /// A floating-point number of 8 bits or 4.
    case float(DType)
    /// E2M1 as ModelOpt's own table has it, in which the code of negative zero is 0.
    case modelOptFloat4
    /// The code itself.
    case unsigned
    /// Two's complement.
    case signed
    /// The code minus half of the codes' number.
    case offset
    case normalFloat4
    case bitsAndBytesFloat4
  }

  /// The codes' bytes, a row for each row of numbers, or for several.
  package var view: TensorView
  /// How many bytes there are from one row to the next.
  package var rowBytes: UInt64
  /// How wide a code is, in bits: 1 to 8.
  package var width: Int
  package var packing: Packing
  package var values: Values

  /// How many rows of numbers share a row of bytes.
  package var planes: UInt64 {
    switch packing {
    case .stream, .words, .highNibbleFirst: 1
    case .bytePlanes: 2
    case .wordPlanes: 8
    }
  }

  /// Which nibble of an AWQ word holds the code of each of eight neighbours.
  package static let awqOrder: [UInt8] = [0, 4, 1, 5, 2, 6, 3, 7]
}

/// Scales, one for each block of numbers.
package struct ScaleGrid: Sendable {
  /// What is done to a stored scale.
  package enum Form: Sendable {
    case plain
    /// Divided by this number.
    case divided(Float)
    /// Multiplied by this number.
    case multiplied(Float)
    /// An index into a map, whose entry is multiplied by the scale of its block of indices; then this is added.
    case nested(map: [Float], absmax: TensorView, blockSize: UInt64, offset: Float)
  }

  /// The scales, row by row. U8 is an index; every other type is its number.
  package var view: TensorView
  package var form: Form = .plain
  package var blocks: BlockGrid
}

/// Which block a number belongs to. Matrices of a stack have blocks of their own.
package struct BlockGrid: Sendable {
  /// How many rows of numbers a matrix has.
  package var matrixRows: UInt64
  /// How many rows of numbers a block has.
  package var rowBlock: UInt64
  /// How many columns a block has.
  package var columnBlock: UInt64
  /// How many blocks lie above each other in a matrix.
  package var rows: UInt64
  /// How many blocks lie beside each other.
  package var columns: UInt64

  /// Blocks of matrices, which at the edges may be smaller. Each size is of rows and columns.
  init(of matrix: (rows: UInt64, columns: UInt64), _ block: (rows: UInt64, columns: UInt64)) {
    matrixRows = matrix.rows
    rowBlock = block.rows
    columnBlock = block.columns
    rows = divided(matrix.rows, by: block.rows)
    columns = divided(matrix.columns, by: block.columns)
  }

  /// One block for all rows of a matrix or of a stack.
  init(single rows: UInt64, _ columns: UInt64) { self.init(of: (rows, columns), (rows, columns)) }

  /// Blocks of whole columns of a row, of which there may be more than a row needs.
  init(rows: UInt64, columnBlock: UInt64, blocks: UInt64) {
    matrixRows = rows
    rowBlock = 1
    self.columnBlock = columnBlock
    self.rows = rows
    columns = blocks
  }

  /// The row of blocks that a row of numbers is in, counted through the stack.
  package func row(of row: UInt64) -> UInt64 {
    row / matrixRows * rows + row % matrixRows / rowBlock
  }
}

/// Zero points, one for each row of numbers and group of columns.
package struct ZeroPoints: Sendable {
  /// How they are packed.
  package enum Packing: Sendable {
    /// One signed byte or FP8 number for each block, in the order of the scales.
    case bytes
    /// `[groups, words]`: the codes of all rows of numbers in each row of words.
    case alongColumns
    /// As ``alongColumns``, of nibbles in AWQ's order.
    case alongColumnsAWQ
    /// `[words, groups]`: the codes of all rows of numbers in each column of words.
    case alongRows
    /// `[rows, words]`: the codes of all groups in each row of words.
    case perRow
  }

  /// The tensor as it is stored.
  package var view: TensorView
  package var packing: Packing
  package var width: Int
  /// As many whole codes as fit into 32 bits, and not a stream of bits.
  package var inWords = false
  /// What is added to the code before its upper bits are cut off.
  package var increment = 0
  /// What is subtracted from it after that.
  package var offset = 0
  /// How many groups of columns there are, and how many of them ``view`` has room for.
  package var groups: UInt64
}
