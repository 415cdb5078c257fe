import Safetensors

extension Tensor {
  /// The shape as commands print it: `[4096, 4096]`.
  var shapeText: String { "[" + shape.map(String.init).joined(separator: ", ") + "]" }

  /// The dtype and the shape: `BF16 [4096, 4096]`.
  var form: String { dtype.name + " " + shapeText }
}
