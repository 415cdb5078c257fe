public import FUSE
internal import Glibc
public import Safetensors
public import TensorFS

/// A failure that ends a command: one line for standard error and an exit status of sysexits.h.
public struct Failure: Error {
  /// The exit status.
  public let status: Int32
  /// What is wrong, as one line; safe to print.
  public let message: String

  /// A failure from its parts.
  public init(status: Int32, _ message: String) {
    self.status = status
    self.message = message
  }

  /// A source that cannot be used.
  public init(_ error: ModelError) {
    switch error.kind {
    case .malformed: status = EX_DATAERR
    case .noSource: status = EX_NOINPUT
    case .notPermitted: status = EX_NOPERM
    case .system: status = EX_OSERR
    }
    message = error.description
  }

  /// A model whose names cannot be shown.
  public init(_ error: NamesError) {
    self.init(status: EX_DATAERR, error.description)
  }

  /// A mount that cannot be made.
  public init(_ error: MountError) {
    switch error.kind {
    case .fuseUnavailable: status = EX_UNAVAILABLE
    case .mountPoint: status = EX_CANTCREAT
    case .notPermitted: status = EX_NOPERM
    case .system: status = EX_OSERR
    }
    message = error.description
  }

  /// A command line that cannot be carried out.
  public static func usage(_ problem: String, command: String) -> Failure {
    Failure(status: EX_USAGE, "\(problem); see '\(command) --help'")
  }

  /// A failure of the system.
  public static func system(_ problem: String) -> Failure { Failure(status: EX_OSERR, problem) }
}
