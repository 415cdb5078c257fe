import FUSE
import Glibc

extension Failure {
  /// A mount that cannot be made.
  init(_ error: MountError) {
    switch error.kind {
    case .fuseUnavailable: status = EX_UNAVAILABLE
    case .mountPoint: status = EX_CANTCREAT
    case .notPermitted: status = EX_NOPERM
    case .system: status = EX_OSERR
    }
    message = error.description
  }
}
