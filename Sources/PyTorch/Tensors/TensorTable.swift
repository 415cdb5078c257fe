/// The tensors of a file, in file order, and those that cannot be shown. Each takes its name and a few bytes:
/// tensors with several names share a description, and descriptions share shapes.
struct TensorTable: Sendable {
  struct Row: Sendable {
    var nameStart: UInt32
    var nameCount: UInt32
    /// A row of ``descriptions``.
    var description: UInt32
  }

  struct Description: Sendable {
    var type: ElementType
    /// A row of ``layouts``.
    var layout: UInt32
    var begin: UInt64
    var end: UInt64
  }

  /// A shape with its strides.
  struct Layout: Sendable {
    /// The start of the shape in ``dimensions``; the strides follow it.
    var start: UInt32
    var rank: UInt32
    var isContiguous: Bool
    /// The number of elements.
    var elements: UInt64
    /// The index of the last element, counted from the first.
    var reach: UInt64
  }

  struct OmissionRow: Sendable {
    var nameStart: UInt32
    var nameCount: UInt32
    var type: ElementType?
    var reason: Omission.Reason
  }

  private(set) var names: [UInt8] = []
  private(set) var rows: [Row] = []
  private(set) var omissions: [OmissionRow] = []
  var descriptions: [Description] = []
  var layouts: [Layout] = []
  var dimensions: [UInt64] = []

  // The conversions cannot fail: the size of the pickle limits the names.

  mutating func add(_ name: [UInt8], _ description: UInt32) {
    rows.append(Row(nameStart: UInt32(names.count), nameCount: UInt32(name.count), description: description))
    names += name
  }

  mutating func omit(_ name: [UInt8], _ type: ElementType?, _ reason: Omission.Reason) {
    omissions.append(
      OmissionRow(nameStart: UInt32(names.count), nameCount: UInt32(name.count), type: type, reason: reason))
    names += name
  }

  /// Moves the tensors from `row` on to the omissions.
  mutating func omit(from row: Int, _ reason: Omission.Reason) {
    for row in rows[row...] {
      omissions.append(
        OmissionRow(
          nameStart: row.nameStart, nameCount: row.nameCount, type: descriptions[Int(row.description)].type,
          reason: reason))
    }
    rows.removeSubrange(row...)
  }

  fileprivate func name(_ start: UInt32, _ count: UInt32) -> ArraySlice<UInt8> {
    names[Int(start)..<Int(start) + Int(count)]
  }
}

/// The tensors of a file, in file order.
package struct StoredTensors: RandomAccessCollection, Sendable {
  let table: TensorTable

  package var startIndex: Int { 0 }
  package var endIndex: Int { table.rows.count }

  /// The tensor, assembled at each call.
  package subscript(position: Int) -> StoredTensor {
    let row = table.rows[position]
    let description = table.descriptions[Int(row.description)]
    let layout = table.layouts[Int(description.layout)]
    let middle = Int(layout.start) + Int(layout.rank)
    return StoredTensor(
      name: table.name(row.nameStart, row.nameCount), type: description.type,
      shape: table.dimensions[Int(layout.start)..<middle],
      strides: table.dimensions[middle..<middle + Int(layout.rank)],
      range: description.begin..<description.end, isContiguous: layout.isContiguous,
      layout: Int(description.layout))
  }
}

/// The tensors that a file names and this library does not show.
package struct Omissions: RandomAccessCollection, Sendable {
  let table: TensorTable

  package var startIndex: Int { 0 }
  package var endIndex: Int { table.omissions.count }

  /// The omission, assembled at each call.
  package subscript(position: Int) -> Omission {
    let row = table.omissions[position]
    return Omission(name: table.name(row.nameStart, row.nameCount), type: row.type, reason: row.reason)
  }
}
