import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// The privileges of a daemon after it has mounted, and who may read the mount.
  @Suite struct PrivilegeTests {
    private static let model = SafetensorsFile(.init("w", "U8", [300_000]), .init("a/b", "BF16", [8]))
    /// CAP_DAC_READ_SEARCH and CAP_SYS_ADMIN.
    private static let mounting = "0000000000200004"

    private func status(_ path: String) throws -> [Substring: Substring] {
      let text = String(decoding: try OpenFile(FilePath(path)).bytes(), as: UTF8.self)
      return text.split(separator: "\n").reduce(into: [:]) { fields, line in
        let parts = line.split(separator: ":\t", maxSplits: 1)
        if parts.count == 2 { fields[parts[0]] = parts[1] }
      }
    }

    @Test(
      "Root's daemon has only the two capabilities for unmounting, and can never gain others or new privileges",
      arguments: [[], ["-f"]])
    func root(options: [String]) async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      func check(_ daemon: Int32) async throws {
        let tasks = FilePath("/proc/\(daemon)/task")
        func threads() throws -> [String] {
          try Listing(tasks).rest().map { "\($0.name)" }.filter { $0 != "." && $0 != ".." }
        }
        // The threads are four workers, one for signals, and the first one, which waits for the end. The mount appears before them.
        #expect(try await eventually { try threads().count >= 6 })
        var checked = 0
        for thread in try threads() {
          // The thread that waits for the mount's first answer ends when it gets the answer.
          guard let status = try? status("\(tasks)/\(thread)/status") else { continue }
          checked += 1
          for set in ["CapPrm", "CapEff", "CapBnd"] {
            #expect(status[Substring(set)] ?? "" == Self.mounting, "\(set)")
          }
          for set in ["CapInh", "CapAmb"] { #expect(status[Substring(set)] == "0000000000000000", "\(set)") }
          #expect(status["NoNewPrivs"] == "1" && status["Umask"] == "0077")
        }
        #expect(checked >= 6)
      }
      if options.isEmpty {
        try await withMount(source) { try await check($0.daemon.id) }
      } else {
        let end = try await withForegroundMount(source) { mount in
          try await check(mount.daemon)
          mount.send(SIGTERM)
        }
        #expect(end == 0)
      }
    }

    @Test(
      "A user's daemon has no capability; the threads that answer cannot gain privileges, and the one that starts fusermount3 can"
    )
    func user() async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run(
        """
        as_nobody "$stmount" "$model" "$mnt"
        pid=$(daemon)
        as_nobody cat "$mnt/w" >/dev/null
        # Waits for all workers, because each confines itself when it starts.
        for _ in $(seq 3000); do
          [ "$(cat /proc/$pid/task/*/status | grep -c '^NoNewPrivs:.1')" = 4 ] && break; sleep 0.01
        done
        cat /proc/$pid/task/*/status | grep -E '^Cap(Inh|Prm|Eff|Amb)|^NoNewPrivs' | sort | uniq -c | sed 's/^ *//'
        as_nobody fusermount3 -u "$mnt"
        ends "$pid"
        """)
      let lines = output.split(separator: "\n")
      #expect(
        lines.filter { $0.contains("Cap") }.allSatisfy { $0.hasSuffix("\t0000000000000000") }, "\(output)")
      // The threads are four workers, one that waits for them, one for signals, and the first one, which waits for the end.
      #expect(lines.suffix(2) == ["3 NoNewPrivs:\t0", "4 NoNewPrivs:\t1"], "\(output)")
    }

    @Test(
      "The remaining privileges suffice for another user's closed directory, syslog, the mount table, and the end by a signal"
    )
    func enough() async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run(
        """
        mount -t tmpfs tmpfs /dev
        mknod -m 666 /dev/null c 1 3
        mknod -m 600 /dev/fuse c 10 229
        logger() { rm -f /dev/log; socat -u UNIX-RECV:/dev/log CREATE:"$1" & logger=$!; until [ -S /dev/log ]; do sleep 0.01; done; }
        trap 'kill $logger 2>/dev/null || :; umount -l "$mnt" 2>/dev/null || :' EXIT
        logger "$directory/log1"
        # Only the owner can reach the model and the mount.
        mkdir "$directory/home"; mv "$model" "$directory/home"; mkdir "$directory/home/mnt"
        chown -R 65534:65534 "$directory/home"; chmod 700 "$directory/home"; chmod 600 "$directory/home/m.safetensors"
        model=$directory/home/m.safetensors; mnt=$directory/home/mnt
        "$stmount" "$model" "$mnt"
        pid=$(daemon)
        cmp "$mnt/w" "$directory/w" && echo same
        # The log daemon restarts, and must get messages from threads that cannot open files.
        kill $logger; wait $logger 2>/dev/null || :
        logger "$directory/log2"
        mv "$model" "$model.moved"
        chmod 640 "$model.moved"
        cat "$mnt/a/b" >/dev/null && echo moved
        printf x >>"$model.moved"
        cat "$mnt/.f32/a/b" >/dev/null 2>&1 || echo changed
        kill -TERM "$pid"; ends "$pid"
        findmnt --mountpoint "$mnt" || echo gone
        for _ in $(seq 3000); do grep -q unmounted "$directory/log2" && break; sleep 0.01; done
        kill $logger
        grep -o "mounted '" "$directory/log1"
        tr '<' '\\n' <"$directory/log2" | grep -o 'has changed\\|unmounted'
        """)
      #expect(output == "same\nmoved\nchanged\ngone\nmounted '\nhas changed\nunmounted", "\(output)")
    }

    @Test("The kernel's read-ahead is raised before privileges are dropped")
    func readAhead() async throws {
      let files = try TemporaryDirectory()
      let source = try files.write("m.safetensors", Self.model)
      try await withMount(source) { mount in
        let device = try Stat(mount.path).deviceID.rawValue
        let minor = (device & 0xFF) | (device >> 12 & 0xFFF00)
        let path = FilePath("/sys/class/bdi/0:\(minor)/read_ahead_kb")
        #expect(try String(decoding: OpenFile(path).bytes(), as: UTF8.self) == "1024\n")
      }
    }

    @Test("A private model stays private in every view and document with allow_other, and its owner reads it")
    func privateModel() async throws {
      let files = try TemporaryDirectory()
      let secret = try files.write("secret.safetensors", Self.model)
      let open = try files.write("open.safetensors", SafetensorsFile(.init("open", "F16", [8])))
      try #require(unsafe chmod("\(secret)", 0o600) == 0 && chown("\(secret)", 54_321, 54_321) == 0)
      let paths = ["w", "a/b", ".npy/w.npy", ".f32/a/b", ".safetensors/a/b.safetensors", "metadata.json"]
      try await withMount(secret, open, options: ["-o", "allow_other"]) { mount in
        for path in paths {
          let stranger = try await Command.run("cat", ["\(mount.file(path))"], user: PrivateNamespace.nobody)
          #expect(stranger.status != 0 && stranger.output.isEmpty, "\(path)")
          #expect(stranger.error.contains("Permission denied"), "\(path)")
          let owner = try await Command.run("cat", ["\(mount.file(path))"], user: 54_321)
          #expect(owner.status == 0)
          expectSame(owner.output, try mount.bytes(path), path)
        }
        // Tensor names are private too.
        let list = try await Command.run("ls", ["\(mount.path)"], user: PrivateNamespace.nobody)
        #expect(list.status != 0 && list.output.isEmpty)
        let attributes = try await Command.run(
          "getfattr", ["-d", "\(mount.file("w"))"], user: PrivateNamespace.nobody)
        #expect(attributes.output.isEmpty)
      }
    }
  }
}
