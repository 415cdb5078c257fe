import Glibc

/// The service manager that has started this process, if any: systemd, or another with its protocol.
///
/// Each message is one datagram of lines NAME=VALUE to the socket that `NOTIFY_SOCKET` names: sd_notify(3). The
/// protocol is stable and small, so the library is not needed.
struct ServiceManager: Sendable {
  /// The socket's path, or `@` and the name of an abstract socket.
  private let socketName: [UInt8]?

  /// The manager that the environment names.
  init() { self.init(socketName: unsafe getenv("NOTIFY_SOCKET").map { unsafe String(cString: $0) }) }

  init(socketName: String?) {
    let name = socketName.map { Array($0.utf8) }
    // Only these two forms are addresses of AF_UNIX; the third is for virtual machines.
    let isLocal = name?.first == UInt8(ascii: "/") || name?.first == UInt8(ascii: "@")
    self.socketName = isLocal ? name : nil
  }

  /// Reports that the service answers, and what it does, in one line.
  func ready(_ status: String) { send(["READY=1", "MAINPID=\(getpid())", "STATUS=\(status)"]) }

  /// Reports what the service does, in one line.
  func status(_ status: String) { send(["STATUS=\(status)"]) }

  /// Reports that the service is about to end.
  func stopping(_ status: String) { send(["STOPPING=1", "STATUS=\(status)"]) }

  /// Sends a message. A manager that does not listen does not make a mount fail.
  private func send(_ lines: [String]) {
    guard let socketName else { return }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let start = MemoryLayout.size(ofValue: address) - MemoryLayout.size(ofValue: address.sun_path)
    let isFit = unsafe withUnsafeMutableBytes(of: &address.sun_path) { path in
      guard socketName.count < path.count else { return false }
      unsafe path.copyBytes(from: socketName)
      // An abstract name begins with a zero byte: unix(7).
      if unsafe path[0] == UInt8(ascii: "@") { unsafe path[0] = 0 }
      return true
    }
    let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard isFit, descriptor >= 0 else { return }
    defer { close(descriptor) }
    let message = Array((lines.joined(separator: "\n") + "\n").utf8)
    let length = socklen_t(start + socketName.count)
    unsafe withUnsafePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        _ = unsafe sendto(descriptor, message, message.count, Int32(MSG_NOSIGNAL), address, length)
      }
    }
  }
}
