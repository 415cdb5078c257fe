import Glibc
import Linux
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// A failure that ends a command: one line for standard error and an exit status of sysexits.h.
struct Failure: Error {
  /// The exit status.
  let status: Int32
  /// The problem, as one line; safe to print.
  let message: String

  /// A failure from its parts.
  init(status: Int32, _ message: String) {
    self.status = status
    self.message = message
  }

  /// A source that cannot be used.
  init(_ error: ModelError) {
    switch error.kind {
    case .malformed: status = EX_DATAERR
    case .noSource: status = EX_NOINPUT
    case .notPermitted: status = EX_NOPERM
    case .system: status = EX_OSERR
    }
    message = error.description
  }

  /// A model whose names cannot be shown.
  init(_ error: NamesError) {
    self.init(status: EX_DATAERR, error.description)
  }

  /// A command line that cannot be executed. The problem may contain arguments as they are.
  static func usage(_ problem: String, command: String) -> Failure {
    Failure(status: EX_USAGE, "\(PrintableText.line(problem.argumentBytes)); see '\(command) --help'")
  }

  /// A tensor whose size is beyond the limit of a file.
  static func tooLarge(_ name: TensorName) -> Failure {
    Failure(status: EX_DATAERR, "tensor \(name) is larger than a file can be")
  }

  /// A failure to read a source. `problem` is safe to print; the error follows. A bad scale makes the model a broken one.
  static func reading(_ error: Errno, _ problem: String) -> Failure {
    guard error == ScaleCheck.failure else { return .system("\(problem): \(error)") }
    return Failure(
      status: EX_DATAERR,
      "\(problem): \(ScaleCheck.reason(of: error)); leave it out, or do without --dequant")
  }

  /// A failure of the system.
  static func system(_ problem: String) -> Failure { Failure(status: EX_OSERR, problem) }
}
