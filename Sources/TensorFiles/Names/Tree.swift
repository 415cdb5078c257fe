internal import Safetensors

/// The names below the mount point: directories and files, each with a number that does not change.
///
/// One table and one buffer of text. A directory's children are contiguous, in the order of their bytes, so
/// a lookup is a binary search and a listing is a walk. The number of an inode is its position plus one.
package struct Tree: Sendable {
  /// The kind of a file or directory.
  package enum Kind: UInt8 {
    case directory
    case metadata
    case tensor
  }

  /// One file or directory: 32 bytes.
  package struct Node {
    package var nameStart: Int
    package var nameCount: UInt8
    package var kind: Kind
    /// The model that it belongs to; none for a root above several models.
    package var model: UInt32
    /// The position of the directory it is in; the root is in itself.
    package var parent: UInt32
    /// For a directory, the position of its first child; for a tensor, its position in the model.
    package var first: UInt32
    /// For a directory, the number of its children.
    package var count: UInt32 = 0
    /// For a directory, the number of its subdirectories.
    package var directories: UInt32 = 0
  }

  /// ``Node/model`` of a root above several models.
  package static let noModel = UInt32.max

  package let nodes: [Node]
  private let names: [UInt8]

  package init(nodes: [Node], names: [UInt8]) {
    self.nodes = nodes
    self.names = names
  }

  /// The name of a node, one path component; the root's is empty.
  package func name(of node: Node) -> ArraySlice<UInt8> {
    names[node.nameStart..<node.nameStart + Int(node.nameCount)]
  }

  /// The position of the child of this name, or nil. Takes time logarithmic in the directory's size.
  package func child(_ name: Span<UInt8>, of directory: Node) -> Int? {
    let children = nodes[Int(directory.first)..<Int(directory.first) + Int(directory.count)]
    let position = children.partitionPoint { compare(self.name(of: $0), name) < 0 }
    return position < children.endIndex && compare(self.name(of: nodes[position]), name) == 0 ? position : nil
  }

  private func compare(_ left: ArraySlice<UInt8>, _ right: Span<UInt8>) -> Int {
    for (index, byte) in left.enumerated() {
      if index == right.count { return 1 }
      if byte != right[index] { return Int(byte) - Int(right[index]) }
    }
    return left.count - right.count
  }
}
