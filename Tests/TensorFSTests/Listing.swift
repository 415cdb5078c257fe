/// Reads a listing in the kernel's format: struct fuse_dirent and fuse_direntplus of linux/fuse.h.
struct Listing {
  struct Entry: Equatable {
    var name: String
    var inode: UInt64
    /// The offset at which the listing continues after this entry.
    var next: UInt64
    /// The type as in st_mode, shifted right by 12: 4 is a directory, 8 a file.
    var type: UInt32
    /// The size in the attributes; nil if the listing has no attributes.
    var size: UInt64?
  }

  var entries: [Entry] = []

  init(_ bytes: [UInt8], withAttributes: Bool) {
    func number<Number: FixedWidthInteger>(at start: Int, as type: Number.Type) -> Number {
      bytes[start..<start + Number.bitWidth / 8].reversed().reduce(0) { $0 << 8 | Number($1) }
    }
    var position = 0
    while position < bytes.count {
      // struct fuse_entry_out has 128 bytes, and attr.size is at byte 48.
      let size = withAttributes ? number(at: position + 48, as: UInt64.self) : nil
      if withAttributes { position += 128 }
      let count = Int(number(at: position + 16, as: UInt32.self))
      entries.append(
        Entry(
          name: String(decoding: bytes[position + 24..<position + 24 + count], as: UTF8.self),
          inode: number(at: position, as: UInt64.self), next: number(at: position + 8, as: UInt64.self),
          type: number(at: position + 20, as: UInt32.self), size: size))
      position += (24 + count + 7) / 8 * 8
    }
  }
}
