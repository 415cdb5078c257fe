import Fixtures
import SystemPackage
import Testing

extension MountTests {
  /// Runs the recipes of docs/RECIPES.md that can run on this machine, exactly as written, and checks their results.
  @Suite struct RecipeTests {
    private static let weights = TensorData.bytes("F32", [1 << 16], seed: 1)
    private static let base = SafetensorsFile(
      .init("a", "F32", [1 << 16], data: weights), .init("b", "F32", [3]),
      .init("c/tied", "F32", [1 << 16], data: weights))
    private static let tuned = SafetensorsFile(
      .init("a", "F32", [1 << 16], data: weights),
      .init("b", "F32", [3], data: Array(repeating: 7, count: 12)),
      .init("new", "U8", [1]))

    /// The directories that the recipes use, initially empty.
    private static let places = """
      mount --make-rprivate /
      for place in /srv /mnt; do mount -t tmpfs tmpfs $place; done

      mkdir -p /srv/models /srv/remote /mnt/a /mnt/b /mnt/models /mnt/writable
      cp "$directory/base.safetensors" "$directory/tuned.safetensors" /srv/models
      cp /srv/models/base.safetensors /srv/remote
      cd /srv
      for name in stls stdiff; do ln -sf stmount "$directory/bin/$name"; done
      export PATH="$directory/bin:$PATH"
      same() { for name in a b; do cmp "/mnt/a/$name" "$directory/$name" && echo same; done; }
      # The daemon of a mount would keep this namespace, and thereby the mount.
      trap 'cd /; for place in /mnt/*; do umount -l "$place" 2>/dev/null || :; done' EXIT

      """

    /// Runs a recipe with its models, then `check`. Returns the output of both.
    private func run(
      _ name: String, files: [String: [UInt8]] = [:], before: String = "", check: String = ""
    ) async throws -> String {
      let directory = try PrivateNamespace(model: Self.base)
      for (name, bytes) in files { try directory.directory.write(name, bytes) }
      try directory.directory.write("base.safetensors", Self.base)
      try directory.directory.write("tuned.safetensors", Self.tuned)
      let (zero, nan): ([UInt8], [UInt8]) = ([0, 0], [1, 0x7C])
      for (name, data) in [("sound", zero), ("bad", nan)] {
        try directory.directory.write(
          "\(name).safetensors", SafetensorsFile(.init("a", "F16", [1], data: data)))
      }
      for tensor in Self.base.tensors.prefix(2) {
        try directory.directory.write(String(decoding: tensor.name, as: UTF8.self), tensor.data)
      }
      return try await directory.run(
        [Self.places, before, try Documentation.commands(name, in: "docs/RECIPES.md"), check].joined(
          separator: "\n"))
    }

    @Test("Comparing two checkpoints shows only the tensors that differ, are missing or are new")
    func compare() async throws {
      let output = try await run("compare")
      let lines = output.split(separator: "\n").filter { "<>".contains($0.first ?? " ") }
      let names = lines.map { "\($0.prefix(1))\($0.split(separator: " ").last ?? "")" }
      #expect(Set(names) == ["<./b", ">./b", "<./c/tied", ">./new"] && names.count == 4, "\(output)")
    }

    @Test("stdiff shows the tensors that a fine-tune has changed, and how far")
    func changed() async throws {
      let lines = try await run("changed").split(separator: "\n")
      #expect(lines.map { $0.prefix(8) } == ["| b  F32", "< c/tied", "> new  U"], "\(lines)")
      #expect(lines.first?.contains("3 of 3 elements differ, largest absolute ") == true, "\(lines)")
    }

    @Test("stdiff --dequant shows how far a 4-bit model is from its original")
    func quantised() async throws {
      let sample = try #require(QuantizedSample.all.first { $0.name == "bitsandbytes nf4" })
      let (name, shape, values) = sample.expected[0]
      // BF16 numbers are the upper halves of float32 numbers.
      let data = values.flatMap { value in
        [UInt8(truncatingIfNeeded: value.bitPattern >> 16), UInt8(value.bitPattern >> 24)]
      }
      let norm = try #require(sample.tensors.last)
      let lines = try await run(
        "quantised",
        files: [
          "llama.safetensors": SafetensorsFile([.init(name, "BF16", shape, data: data), norm]).bytes,
          "4bit.safetensors": sample.file.bytes, "config.json": Array((sample.config ?? "{}").utf8),
        ],
        before: """
          mkdir models/llama-4bit
          cp "$directory/llama.safetensors" models
          cp "$directory/config.json" "$directory/4bit.safetensors" models/llama-4bit

          """
      ).split(separator: "\n")
      #expect(lines.count == 1 && lines[0].hasPrefix("| \(name)  BF16 [") == true, "\(lines)")
      #expect(lines.first?.contains(", rms ") == true, "\(lines)")
    }

    @Test("A copy that is the same matches the manifest, and another model does not")
    func manifest() async throws {
      #expect(
        try await run("manifest") == """
          the same
          b: FAILED
          c/tied: FAILED, no such tensor
          """)
    }

    @Test(
      "model_signing signs a mount, verifies another file with the same tensors, and names a tensor that differs"
    )
    func sign() async throws {
      let python = Reference.environment
      guard (try? Stat(python.appending("model_signing"))) != nil else {
        throw Machine.Unfit(description: "there is no model_signing in \(python): run make test-deps")
      }
      let output = try await run(
        "sign", before: "exec 2>&1; export PATH=\(python):$PATH",
        check: """
          umount /mnt/b; stmount /srv/models/tuned.safetensors /mnt/b
          model_signing verify key --public_key key.pub --signature base.sig \\
            --ignore-paths /mnt/b/metadata.json /mnt/b || echo refused
          """)
      let lines = output.split(separator: "\n")
      #expect(lines.filter { $0.hasSuffix("succeeded") }.count == 2 && lines.last == "refused", "\(output)")
      #expect(output.contains("mismatch for 'b'") || output.contains("mismatch for \\'b\\'"), "\(output)")
    }

    @Test("Of several checkpoints, those with a NaN are named")
    func scan() async throws {
      let output = try await run(
        "nan",
        before: """
          rm models/*; cp "$directory/bad.safetensors" "$directory/sound.safetensors" models
          """)
      #expect(output == "/srv/models/bad.safetensors")
    }

    @Test("Equal tensors are found, in one model and across two")
    func duplicates() async throws {
      let output = try await run("duplicates")
      let names = output.split(separator: "\n").compactMap { $0.split(separator: " ").last }
      #expect(Set(names) == ["/mnt/a/a", "/mnt/a/c/tied", "/mnt/b/a"] && names.count == 3, "\(output)")
    }

    @Test("A backup copies changed tensors, and removes deleted ones")
    func backup() async throws {
      let output = try await run("backup", check: "diff -r /mnt/a /srv/backup && echo equal")
      let lines = Set(output.split(separator: "\n"))
      #expect(
        lines.isSuperset(of: ["b", "new", "equal", "deleting c/tied"]) && !lines.contains("a"), "\(output)")
    }

    @Test("overlayfs makes a writable copy with only the changed tensors")
    func overlay() async throws {
      let output = try await run(
        "overlay",
        check: """
          cmp /mnt/writable/a "$directory/a" && echo same
          od -A n -t f4 -N 4 /mnt/writable/b | tr -d ' '
          cmp /mnt/a/b "$directory/b" && echo untouched
          """)
      #expect(output == "b\nsame\n1\nuntouched", "\(output)")
    }

    @Test("A model over ssh can be mounted")
    func sshfs() async throws {
      // Replaces ssh and a host: runs the command that ssh would run there.
      let server = "/usr/lib/openssh/sftp-server"
      let output = try await run(
        "sshfs",
        before: """
          [ -x \(server) ] || { echo "install openssh-sftp-server" >&2; exit 1; }
          printf '#!/bin/sh\\nexec \(server)\\n' >"$directory/bin/ssh"; chmod 755 "$directory/bin/ssh"
          """, check: "same; findmnt -n -o SOURCE /mnt/a")
      #expect(output == "same\nsame\n/mnt/models/base.safetensors", "\(output)")
    }

    @Test("nfs-ganesha exports a mount, and its files are readable after the kernel has dropped their inodes")
    func nfs() async throws {
      let output = try await run(
        "nfs",
        check: """
          trap 'kill $(cat /srv/ganesha.pid); cd /; for place in /mnt/*; do umount -l "$place" 2>/dev/null || :; done' EXIT
          read_by_nfs() { nfs-cat "nfs://127.0.0.1/a/$1?version=4&nfsport=20490"; }
          for _ in $(seq 600); do read_by_nfs b >/dev/null 2>&1 && break; sleep 0.1; done
          for round in 1 2; do
            for name in a b; do read_by_nfs $name | cmp - "$directory/$name" && echo same; done
            read_by_nfs .npy/b.npy | cmp - /mnt/a/.npy/b.npy && echo same
            for _ in 1 2 3 4; do echo 2 >/proc/sys/vm/drop_caches; done
          done
          """)
      #expect(output.split(separator: "\n").count { $0 == "same" } == 6, "\(output)")
    }

    @Test("A model on an rclone remote can be mounted")
    func rclone() async throws {
      let output = try await run(
        "rclone",
        before: """
          export RCLONE_CONFIG="$directory/rclone.conf" RCLONE_CACHE_DIR="$directory/cache"
          printf '[remote]\\ntype = alias\\nremote = /srv\\n' >"$RCLONE_CONFIG"
          """, check: "same; findmnt -n -o SOURCE /mnt/a")
      #expect(output == "same\nsame\n/mnt/models/base.safetensors", "\(output)")
    }

    @Test("A repository of the hub, as a directory with slow files, can be mounted")
    func hub() async throws {
      // Replaces hf-mount: a file system with the same files that takes 20 ms for each request.
      let output = try await run(
        "hub",
        before: """
          cc -pthread -o "$directory/bin/below" \(Machine.repository)/Tests/Below/below.c -lfuse3
          mkdir /srv/hub
          cp models/base.safetensors /srv/hub/model.safetensors
          for name in config tokenizer generation_config; do echo '{}' >/srv/hub/$name.json; done
          printf '#!/bin/sh\\nexec below /srv/hub "$4" latency=20 bandwidth=200\\n' >"$directory/bin/hf-mount"
          chmod 755 "$directory/bin/hf-mount"
          """, check: "same; findmnt -n -o SOURCE /mnt/a")
      #expect(output == "same\nsame\n/mnt/models", "\(output)")
    }

    @Test("A model through bindfs can be mounted")
    func bindfs() async throws {
      let output = try await run("bindfs", check: "same")
      #expect(output == "same\nsame", "\(output)")
    }

    @Test("nginx serves tensors, and parts of them")
    func nginx() async throws {
      let output = try await run(
        "nginx",
        check: #"""
          get() { printf 'GET %s HTTP/1.0\r\nRange: bytes=%s\r\n\r\n' "$1" "$2" | socat - UNIX-CONNECT:/srv/nginx.sock |
            sed '1,/^\r$/d'; }
          get /a 0- | cmp - "$directory/a" && echo whole
          tail -c +101 "$directory/a" | head -c 100 >/srv/part
          get /a 100-199 | cmp - /srv/part && echo part
          get / 0- | grep -o 'href="[a-z]*/*"' | tr '\n' ' '
          kill $(cat /srv/nginx.pid)
          """#)
      #expect(output == "whole\npart\n" + #"href="c/" href="a" href="b" "#, "\(output)")
    }

    @Test("A mount for the duration of a command works")
    func command() async throws {
      let output = try await run(
        "command",
        check: #"[ "$(sha256sum <"$directory/b")" ]; sha256sum "$directory/b"; findmnt /mnt/a || echo gone"#)
      let lines = output.split(separator: "\n")
      #expect(
        lines.count == 3 && lines[0].prefix(64) == lines[1].prefix(64) && lines[2] == "gone", "\(output)")
    }

    @Test("A slow file system below gets large requests, each once, from readers and from mappings")
    func lowerRequests() async throws {
      let size = 32 << 20
      let space = try PrivateNamespace(
        model: SafetensorsFile(
          .init("w", "U8", [size], data: Array(repeating: 1, count: size)),
          .init("x", "U8", [size], data: Array(repeating: 2, count: size))))
      // bindfs logs each request that it gets.
      let output = try await space.run(
        """
        mkdir "$directory/lower" "$directory/models"
        mv "$model" "$directory/models"
        bindfs -f -d -o ro "$directory/models" "$directory/lower" 2>"$directory/log" &
        trap 'umount -l "$mnt" "$directory/lower"' EXIT
        until [ -e "$directory/lower/m.safetensors" ]; do sleep 0.01; done
        "$stmount" "$directory/lower/m.safetensors" "$mnt"
        seen=0
        # Prints the lines that were added to the log since the last call.
        count() { size=$(stat -c %s "$directory/log")
          head -c $size "$directory/log" | tail -c +$((seen + 1)) | grep -aoE 'read\\[[0-9]+\\] [0-9]+ bytes from [0-9]+ flags' |
            awk '{ n++; total += $2 } END { print n + 0, total + 0 }'; seen=$size; }
        count >/dev/null
        cat "$mnt/w" >/dev/null; count
        python3 -c 'import mmap, sys
        file = open(sys.argv[1], "rb")
        pages = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        print(sum(pages[::4096]), file=sys.stderr)' "$mnt/x" 2>/dev/null; count
        """)
      for line in output.split(separator: "\n") {
        let numbers = line.split(separator: " ").compactMap { Int($0) }
        try #require(numbers.count == 2, "\(output)")
        #expect(
          numbers[1] > size - size / 10 && numbers[1] < size + size / 10,
          "\(numbers) read from below for \(size)")
        // On this file system the kernel makes requests of up to 128 KiB. A reader that catches up with the prefetching requests parts of
        // the same range, so the number of shorter requests depends on timing.
        #expect(numbers[1] / numbers[0] > 32 << 10, "\(numbers[0]) requests for \(numbers[1]) bytes")
      }
      #expect(output.split(separator: "\n").count == 2)
    }
  }
}
