import ArgumentParser
import FUSE
import Glibc
import Safetensors
import TensorFS

/// A failure that ends the command: one line for standard error and an exit status of sysexits.h.
struct Failure: Error {
  var status: Int32
  var message: String

  init(status: Int32, _ message: String) {
    self.status = status
    self.message = message
  }

  init(_ error: ModelError) {
    status =
      switch error.kind {
      case .malformed: EX_DATAERR
      case .noSource: EX_NOINPUT
      case .notPermitted: EX_NOPERM
      case .system: EX_OSERR
      }
    message = error.description
  }

  init(_ error: NameCollision) {
    self.init(status: EX_DATAERR, error.description)
  }

  init(_ error: MountError) {
    status =
      switch error.kind {
      case .fuseUnavailable: EX_UNAVAILABLE
      case .mountPoint: EX_CANTCREAT
      case .notPermitted: EX_NOPERM
      case .system: EX_OSERR
      }
    message = error.description
  }

  /// A command line that cannot be carried out.
  static func usage(_ problem: String) -> Failure {
    Failure(status: EX_USAGE, "\(problem); see 'stmount --help'")
  }
}
