/// What a person may say about how sources are read.
package struct OpeningOptions: Sendable {
  /// Bytes after the last tensor of a file, and tensors that an index names and its shards lack, are warnings and
  /// no errors.
  package var isLenient = false
  /// Tensors and files that an index does not name are shown too.
  package var showsAll = false
  /// Which snapshot of a repository in the Hub's cache: a branch, a tag or the beginning of a commit's number; nil for `main`.
  package var revision: String?
  /// Which variant of a model where there are several, such as `fp16`; nil for the one without a variant's name.
  package var variant: String?

  /// The defaults.
  package init() {}

  /// The defaults but for ``isLenient``.
  package init(lenient: Bool) { isLenient = lenient }
}
