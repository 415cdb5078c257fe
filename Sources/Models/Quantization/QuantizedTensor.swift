package import Safetensors

/// A quantised tensor: where its codes, scales and the like are, and how to compute its float32 elements.
package struct QuantizedTensor: Sendable {
  /// The name that the reference loader gives to the tensor.
  package let name: TensorName
  /// The logical dimensions, outermost first. Elements are float32.
  package let shape: [UInt64]
  package let format: QuantizationFormat
  /// The stored tensors, codes first.
  package let sources: [Model.Place]
  package let arithmetic: DequantizationArithmetic
  /// A warning about the tensor, as a clause; safe to print.
  package var note: String? = nil

  /// The size of the float32 elements, in bytes; at most `Int64.max`.
  package var byteCount: UInt64 { arithmetic.count * 4 }
}

/// The supported formats. Raw values are their names in metadata.json.
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

  /// True if writers store the scale 0 for blocks of zeros (bitsandbytes), or round a tiny scale to it
  /// (NVFP4).
  var hasZeroScales: Bool {
    switch self {
    case .nvfp4, .normalFloat4, .float4, .bitsAndBytesInt8: true
    default: false
    }
  }

  /// The formula of one number, in float32. Each operation rounds once.
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

/// How to compute numbers from codes and scales: `(value(code) - zero) * scale`. Each step rounds to float32.
///
/// Numbers are treated as rows of ``columns`` elements, whatever the tensor's shape. All products of these
/// sizes fit into 63 bits.
package struct DequantizationArithmetic: Sendable {
  /// The number of elements. The last row may be incomplete.
  package var count: UInt64
  /// The number of elements in a row.
  package var columns: UInt64
  package var codes: QuantizedCodes
  package var scales: ScaleGrid
  /// What is subtracted from each code's value; nil if nothing is.
  package var zeros: ZeroPoints?
  /// The group of each column, int32, if columns are not grouped in order: `g_idx`.
  package var groupIndex: TensorView?
  /// A further factor, applied in a step of its own; nil if there is none.
  package var factor: Float?
}

/// Codes of at most 8 bits, and their values.
package struct QuantizedCodes: Sendable {
  /// How the codes of a row are packed.
  package enum Packing: Sendable, Equatable {
    /// A stream of bits, lowest bit first. Each row begins at a byte.
    case stream
    /// As many whole codes as fit into a 32-bit word, lowest bits first. Remaining bits are unused.
    case words
    /// Two codes per byte, high half first.
    case highNibbleFirst
    /// Two rows per row of bytes. The first row's codes are in the low halves.
    case bytePlanes
    /// Eight rows per row of 32-bit words: row `8k + j` is in bits `4 * awqOrder[j]` and up.
    case wordPlanes
  }

  /// The number that a code stands for.
  package enum Values: Sendable, Hashable {
    /// A floating-point number of 8 or 4 bits.
    case float(DType)
    /// E2M1 with ModelOpt's table, in which the code of negative zero is 0.
    case modelOptFloat4
    /// The code itself.
    case unsigned
    /// Two's complement.
    case signed
    /// The code minus half the number of codes.
    case offset
    case normalFloat4
    case bitsAndBytesFloat4
  }

  /// The codes' bytes, with one row for one or several rows of numbers.
  package var view: TensorView
  /// The number of bytes in a row.
  package var rowBytes: UInt64
  /// The width of a code in bits: 1 to 8.
  package var width: Int
  package var packing: Packing
  package var values: Values

  /// The number of rows of numbers that share a row of bytes.
  package var planes: UInt64 {
    switch packing {
    case .stream, .words, .highNibbleFirst: 1
    case .bytePlanes: 2
    case .wordPlanes: 8
    }
  }

  /// The nibble of an AWQ word that holds the code of each of eight neighbours.
  package static let awqOrder: [UInt8] = [0, 4, 1, 5, 2, 6, 3, 7]
}

/// Scales, one per block of numbers.
package struct ScaleGrid: Sendable {
  /// How a stored scale becomes the scale.
  package enum Form: Sendable {
    case plain
    /// Divided by this number.
    case divided(Float)
    /// Multiplied by this number.
    case multiplied(Float)
    /// An index into `map`. The entry is multiplied by the scale of the index's block, then `offset` is
    /// added.
    case nested(map: [Float], absmax: TensorView, blockSize: UInt64, offset: Float)
  }

  /// The scales, row by row. U8 holds indices; any other dtype holds the scale itself.
  package var view: TensorView
  package var form: Form = .plain
  package var blocks: BlockGrid
}

/// Which block a number belongs to. Each matrix of a stack has its own blocks.
package struct BlockGrid: Sendable {
  /// The number of rows of numbers in a matrix.
  package var matrixRows: UInt64
  /// The number of rows of numbers in a block.
  package var rowBlock: UInt64
  /// The number of columns in a block.
  package var columnBlock: UInt64
  /// The number of rows of blocks in a matrix.
  package var rows: UInt64
  /// The number of blocks in a row of blocks.
  package var columns: UInt64

  /// Blocks that cover a matrix; those at the edges may be smaller. All sizes are (rows, columns).
  init(of matrix: (rows: UInt64, columns: UInt64), _ block: (rows: UInt64, columns: UInt64)) {
    matrixRows = matrix.rows
    rowBlock = block.rows
    columnBlock = block.columns
    rows = divided(matrix.rows, by: block.rows)
    columns = divided(matrix.columns, by: block.columns)
  }

  /// One block for all rows of a matrix or stack.
  init(single rows: UInt64, _ columns: UInt64) { self.init(of: (rows, columns), (rows, columns)) }

  /// Blocks within a row. There may be more than a row needs.
  init(rows: UInt64, columnBlock: UInt64, blocks: UInt64) {
    matrixRows = rows
    rowBlock = 1
    self.columnBlock = columnBlock
    self.rows = rows
    columns = blocks
  }

  /// The row of blocks that contains a row of numbers, counted through the stack.
  package func row(of row: UInt64) -> UInt64 {
    row / matrixRows * rows + row % matrixRows / rowBlock
  }
}

/// Zero points, one per row of numbers and group of columns.
package struct ZeroPoints: Sendable {
  /// How they are packed.
  package enum Packing: Sendable {
    /// One signed byte or FP8 number per block, in the order of the scales.
    case bytes
    /// `[groups, words]`: each row of words has the codes of all rows of numbers.
    case alongColumns
    /// Like ``alongColumns``, with nibbles in AWQ's order.
    case alongColumnsAWQ
    /// `[words, groups]`: each column of words has the codes of all rows of numbers.
    case alongRows
    /// `[rows, words]`: each row of words has the codes of all groups.
    case perRow
  }

  /// The stored tensor.
  package var view: TensorView
  package var packing: Packing
  package var width: Int
  /// True if each 32-bit word holds whole codes; false for a stream of bits.
  package var inWords = false
  /// Added to the code before its upper bits are cut off.
  package var increment = 0
  /// Subtracted from the code after that.
  package var offset = 0
  /// The number of groups of columns, and the number that ``view`` has room for.
  package var groups: UInt64
}
