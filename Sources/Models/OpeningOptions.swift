/// The user's options for reading sources.
package struct OpeningOptions: Sendable {
  /// Bytes after the last tensor of a file, and tensors that an index names and its shards lack, are warnings, not
  /// errors.
  package var isLenient = false
  /// Tensors and files that an index does not name are shown too.
  package var showsAll = false
  /// The snapshot of a repository in the Hub's cache: a branch, a tag or the beginning of a commit hash; nil for `main`.
  package var revision: String?
  /// The variant of a model, such as `fp16`; nil for the model without a variant's name.
  package var variant: String?

  /// The defaults.
  package init() {}

  /// The defaults, except ``isLenient``.
  package init(lenient: Bool) { isLenient = lenient }
}
