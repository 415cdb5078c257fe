import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// The systemd units, checked by systemd's own tools. packaging/check tests whether they run.
  @Suite struct UnitTests {
    /// A directory with the units as `make install` writes them, and the commands and the manual page that they name.
    private func install() throws -> TemporaryDirectory {
      let directory = try TemporaryDirectory()
      let repository = Machine.repository
      for unit in ["system/stmount@.service", "user/stmount@.service"] {
        let text = String(
          decoding: try OpenFile(repository.appending("systemd/\(unit)")).bytes(), as: UTF8.self)
        try directory.write(unit, text: text.replacing("@PREFIX@", with: "\(directory.path)"))
      }
      for unit in ["mnt-llama.mount", "mnt-llama.automount"] {
        try directory.write(
          "system/\(unit)", OpenFile(repository.appending("systemd/examples/\(unit)")).bytes())
      }
      for (section, page) in [(1, "stmount.1"), (8, "mount.stmount.8")] {
        try directory.write(
          "man/man\(section)/\(page)", OpenFile(repository.appending("docs/man/\(page)")).bytes())
      }
      let command = try directory.write("bin/stmount", text: "#!/bin/sh\n")
      _ = unsafe chmod("\(command)", 0o755)
      return directory
    }

    private func verify(_ directory: TemporaryDirectory, _ arguments: [String]) async throws -> Outcome {
      try await Command.run(
        "env",
        ["MANPATH=\(directory.path)/man", "XDG_RUNTIME_DIR=\(directory.path)", "systemd-analyze"] + arguments)
    }

    @Test(
      "systemd-analyze verify finds no problem in the services, the mount, the automount and their manuals"
    )
    func verify() async throws {
      let directory = try install()
      for arguments in [
        ["verify", "\(directory.path)/system/stmount@llama.service"],
        ["--user", "verify", "\(directory.path)/user/stmount@llama.service"],
        [
          "verify", "\(directory.path)/system/mnt-llama.mount",
          "\(directory.path)/system/mnt-llama.automount",
        ],
      ] {
        let outcome = try await verify(directory, arguments)
        #expect(
          outcome.status == 0 && outcome.error.isEmpty && outcome.output.isEmpty,
          "\(arguments): \(outcome.error)")
      }
    }

    @Test("systemd-analyze verify detects a mistake, and a missing manual")
    func verifyFinds() async throws {
      let directory = try install()
      let unit = directory.path.appending("system/stmount@.service")
      let text = String(decoding: try OpenFile(unit).bytes(), as: UTF8.self)
      try directory.write("system/stmount@.service", text: text.replacing("RestartSec=", with: "RestatSec="))
      #expect(
        try await verify(directory, ["verify", "\(directory.path)/system/stmount@x.service"]).error.contains(
          "RestatSec"))
      try directory.write(
        "system/stmount@.service", text: text.replacing("man:stmount(1)", with: "man:stmonut(1)"))
      #expect(
        try await verify(directory, ["verify", "\(directory.path)/system/stmount@x.service"]).status != 0)
    }

    @Test("systemd-analyze security rates the system's service at most 4.0")
    func security() async throws {
      let directory = try install()
      let unit = "\(directory.path)/system/stmount@llama.service"
      let outcome = try await verify(
        directory, ["security", "--offline=true", "--threshold=40", "--no-pager", unit])
      let score = outcome.text.firstMatch(of: /Overall exposure level for stmount@llama.service: ([0-9.]+)/)?
        .output.1
      let exposure = try #require(score.flatMap { Double($0) }, "\(outcome)")
      #expect(exposure <= 4.0 && outcome.status == 0)
    }

    @Test(
      "No directive of the services gives them their own mount namespace, and the unit lists those that would"
    )
    func namespace() throws {
      for unit in ["system/stmount@.service", "user/stmount@.service"] {
        let text = String(
          decoding: try OpenFile(Machine.repository.appending("systemd/\(unit)")).bytes(), as: UTF8.self)
        let lines = text.split(separator: "\n").filter { !$0.hasPrefix("#") }
        for directive in Self.namespaced {
          #expect(!lines.contains { $0.hasPrefix("\(directive)=") }, "\(unit): \(directive)")
          if unit.hasPrefix("system") {
            #expect(text.contains("\(directive)="), "\(directive) is not mentioned")
          }
        }
      }
    }

    /// The directives of systemd.exec(5) that imply a mount namespace.
    private static let namespaced = [
      "BindPaths", "BindReadOnlyPaths", "DynamicUser", "ExecPaths", "InaccessiblePaths", "LogNamespace",
      "MountFlags",
      "NoExecPaths", "PrivateDevices", "PrivateIPC", "PrivateMounts", "PrivateNetwork", "PrivateTmp",
      "PrivateUsers",
      "ProcSubset", "ProtectControlGroups", "ProtectHome", "ProtectKernelLogs", "ProtectKernelModules",
      "ProtectKernelTunables", "ProtectProc", "ProtectSystem", "ReadOnlyPaths", "ReadWritePaths",
      "RootDirectory",
      "RootImage", "TemporaryFileSystem",
    ]
  }
}
