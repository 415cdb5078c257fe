internal import CFuse

/// The kernel features that make mounts fast: FUSE_CAP_* of fuse_common.h.
package struct KernelFeatures: OptionSet, Sendable {
  /// The features as bits.
  package let rawValue: UInt

  /// The features of these bits.
  package init(rawValue: UInt) { self.rawValue = rawValue }

  /// Opening and closing a file costs no request.
  package static let noOpen = KernelFeatures(rawValue: 1)
  /// Opening and closing a directory costs none.
  package static let noOpendir = KernelFeatures(rawValue: 2)
  /// Listings include attributes: readdirplus.
  package static let readdirplus = KernelFeatures(rawValue: 4)

  /// The features that the kernel has offered.
  @unsafe init(_ connection: UnsafePointer<fuse_conn_info>) {
    func has(_ flag: some BinaryInteger) -> Bool {
      unsafe stmount_is_capable(connection, UInt(truncatingIfNeeded: flag)) != 0
    }
    var features: KernelFeatures = []
    if has(FUSE_CAP_NO_OPEN_SUPPORT) { features.insert(.noOpen) }
    if has(FUSE_CAP_NO_OPENDIR_SUPPORT) { features.insert(.noOpendir) }
    if has(FUSE_CAP_READDIRPLUS) { features.insert(.readdirplus) }
    self = features
  }
}
