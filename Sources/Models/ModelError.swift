internal import PyTorch
package import Safetensors
package import SystemPackage

/// Why a source cannot be mounted or listed.
package struct ModelError: Error {
  /// The kind of failure, which decides a command's exit status.
  package enum Kind: Sendable {
    /// The file does not exist, or has no model in it.
    case noSource
    /// The model is broken.
    case malformed
    /// This user is not permitted to read the model.
    case notPermitted
    /// The system failed.
    case system
  }

  /// The kind of failure.
  package let kind: Kind
  /// The file or directory concerned.
  package let path: FilePath
  /// What is wrong with it, as a clause; safe to print.
  package let problem: String
  /// The header's own error, if that is the reason.
  package let headerError: HeaderError?
  /// The system's error, if that is the reason.
  package let errno: Errno?
  /// True if there are several models, and the user must name one.
  var isAmbiguous = false

  /// An error from its parts; `problem` is safe to print.
  package init(_ kind: Kind, _ path: FilePath, _ problem: String) {
    self.kind = kind
    self.path = path
    self.problem = problem
    headerError = nil
    errno = nil
  }

  /// Runs `body` and turns its error into one about `path`; `action` is the attempted operation, such as
  /// "open".
  package static func translating<Result>(
    _ action: String, _ path: FilePath, _ body: () throws -> Result
  ) throws(ModelError) -> Result {
    do {
      return try body()
    } catch let error as ModelError {
      throw error
    } catch let error as HeaderError {
      throw ModelError(header: error, path)
    } catch let error as FormatError {
      throw ModelError(error, path, action)
    } catch let error as Errno {
      throw ModelError(errno: error, path, action)
    } catch {
      throw ModelError(.system, path, "cannot \(action) it: \(error)")
    }
  }

  /// A header's error; `problem` replaces its text if it is more precise.
  init(header error: HeaderError, _ path: FilePath, problem: String? = nil) {
    kind = .malformed
    self.path = path
    self.problem = problem ?? error.description
    headerError = error
    errno = nil
  }

  private init(_ error: FormatError, _ path: FilePath, _ action: String) {
    switch error.problem {
    case .unreadable(let errno): self.init(errno: errno, path, action)
    case .noPickle: self.init(header: .foreignFormat(.zip), path)
    default: self.init(.malformed, path, error.clause)
    }
  }

  init(errno: Errno, _ path: FilePath, _ action: String) {
    switch errno {
    case .noSuchFileOrDirectory, .notDirectory, .tooManySymbolicLinkLevels, .fileNameTooLong:
      kind = .noSource
    case .permissionDenied, .notPermitted: kind = .notPermitted
    default: kind = .system
    }
    self.path = path
    let remedy =
      errno == .tooManyOpenFiles
      ? "; raise the hard limit, as root with 'ulimit -n NUMBER', or by LimitNOFILE= of its unit"
      : ""
    problem = "cannot \(action) it: \(errno)\(remedy)"
    headerError = nil
    self.errno = errno
  }
}

extension ModelError: CustomStringConvertible {
  /// One line for a message: the path and the problem. Safe to print.
  package var description: String { "\(path.printable): \(problem)" }
}
