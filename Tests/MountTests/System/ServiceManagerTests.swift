import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// Notifications for a service manager. These tests play its part.
  @Suite struct ServiceManagerTests {
    private static let model = SafetensorsFile(.init("w", "U8", [5000]))

    @Test(
      "A service manager is notified when the mount answers and when it ends, at a path or an abstract address",
      arguments: [false, true])
    func notifications(isAbstract: Bool) async throws {
      let directory = try TemporaryDirectory()
      let path = try directory.write("m.safetensors", Self.model)
      let mountPoint = try directory.makeDirectory("mnt")
      let name = isAbstract ? "@\(directory.path.lastComponent?.string ?? "")" : "\(directory.path)/notify"
      let manager = try Supervisor(listeningAt: name)

      try Machine.check()
      let outcome = try await Command.run(
        "env", ["NOTIFY_SOCKET=\(name)", "\(Machine.stmount)", "\(path)", "\(mountPoint)"])
      defer { _ = unsafe umount2("\(mountPoint)", Int32(MNT_DETACH)) }
      try #require(outcome.status == 0, "\(outcome.error)")

      let daemon = try #require(try Daemon(servingAt: mountPoint))
      // The message must have arrived, because the command has returned.
      let ready = try #require(manager.next())
      #expect(ready["READY"] == "1")
      #expect(ready["MAINPID"] == "\(daemon.id)")
      #expect(ready["STATUS"]?.contains("m.safetensors': 1 tensor, 5000 bytes") == true)
      #expect(manager.next() == nil)

      try await Command.output(of: "umount", "\(mountPoint)")
      #expect(try await eventually { !daemon.isRunning })
      #expect(manager.next()?["STOPPING"] == "1")
    }

    @Test("A service manager is told why a mount fails")
    func failure() async throws {
      let directory = try TemporaryDirectory()
      let path = try directory.write("m.safetensors", text: "not a model")
      let manager = try Supervisor(listeningAt: "\(directory.path)/notify")
      let outcome = try await Command.run(
        "env",
        ["NOTIFY_SOCKET=\(directory.path)/notify", "\(Machine.stmount)", "\(path)", "\(directory.path)"])
      #expect(outcome.status == 65)
      let message = try #require(manager.next())
      #expect(message["READY"] == nil && message["STATUS"]?.contains("m.safetensors") == true)
    }

    @Test(
      "A missing service manager, or an invalid address, does not make the mount fail",
      arguments: [
        "/nowhere/notify", "vsock:2:1234", "relative", "", "@" + String(repeating: "x", count: 200),
      ])
    func absent(name: String) async throws {
      let directory = try TemporaryDirectory()
      let path = try directory.write("m.safetensors", Self.model)
      let mountPoint = try directory.makeDirectory("mnt")
      let outcome = try await Command.run(
        "env", ["NOTIFY_SOCKET=\(name)", "\(Machine.stmount)", "\(path)", "\(mountPoint)"])
      #expect(outcome.status == 0, "\(outcome.error)")
      try await Command.output(of: "umount", "\(mountPoint)")
    }
  }
}

/// The receiving end of sd_notify(3)'s protocol.
private final class Supervisor {
  private let descriptor: Int32

  /// Binds a datagram socket: a path, or `@` followed by an abstract name.
  init(listeningAt name: String) throws {
    descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { path in
      unsafe path.copyBytes(from: name.utf8)
      if name.hasPrefix("@") { unsafe path[0] = 0 }
    }
    // The length of the address decides where an abstract name ends. A path ends at its zero byte, which this length excludes.
    let length = socklen_t(MemoryLayout<sa_family_t>.size + name.utf8.count)
    let result = unsafe withUnsafePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe bind(descriptor, $0, length) }
    }
    if result != 0 { throw Errno(rawValue: errno) }
  }

  deinit { close(descriptor) }

  /// The variables of the next message, or nil.
  func next() -> [String: String]? {
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: 4096) { buffer, count in
      count = max(0, unsafe recv(descriptor, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT)))
    }
    if bytes.isEmpty { return nil }
    var message: [String: String] = [:]
    for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
      let name = line.prefix { $0 != "=" }
      message[String(name)] = String(line.dropFirst(name.count + 1))
    }
    return message
  }
}
