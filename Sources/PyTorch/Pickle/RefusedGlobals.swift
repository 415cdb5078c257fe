/// Names that attacks use and honest checkpoints do not. A pickle with such a name is refused.
///
/// This reader executes nothing and does not need the list. The list protects the next program: users take a
/// successful mount for a verdict, and load the file with torch.load, which executes it. No such list can be
/// complete; docs/SECURITY.md says so.
enum RefusedGlobals {
  /// True if a pickle with this name is refused. Of a module, only the first component is compared:
  /// `mylib.code.Model` is honest. Of a name, every component is: the module `torch.serialization` with the
  /// name `os.system` is os.system.
  static func contains(module: ArraySlice<UInt8>, name: ArraySlice<UInt8>, full: [UInt8]) -> Bool {
    let dot = UInt8(ascii: ".")
    let components = name.split(separator: dot, omittingEmptySubsequences: false)
    if builtins.contains(Array(module)) {
      return builtinNames.contains(Array(components[0]))
        || components.dropFirst().contains { attributes.contains(Array($0)) }
    }
    return modules.contains(Array(module.prefix { $0 != dot })) || names.contains(full)
      || prefixes.contains { full.starts(with: $0) }
      || components.contains {
        modules.contains(Array($0.drop { $0 == UInt8(ascii: "_") })) || attributes.contains(Array($0))
      }
  }

  /// True if `getattr` of this name is refused.
  static func contains(attribute name: ArraySlice<UInt8>) -> Bool { attributes.contains(Array(name)) }

  private static func words(_ text: String) -> Set<[UInt8]> {
    Set(text.utf8.split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\n") }.map { Array($0) })
  }

  private static let builtins = words("builtins __builtin__ __builtins__")

  private static let modules = words(
    """
    os posix nt sys subprocess _posixsubprocess pty commands popen2 runpy code codeop importlib _frozen_importlib imp _imp
    pkgutil zipimport marshal pickle _pickle cPickle ctypes _ctypes socket _socket socketserver ssl webbrowser shutil asyncio
    bdb pdb cProfile profile timeit trace doctest pydoc pip ensurepip venv idlelib lib2to3 distutils
    """)

  private static let builtinNames = words(
    """
    eval exec execfile compile open input raw_input breakpoint __import__ apply globals locals vars setattr delattr exit quit
    """)

  private static let names = words(
    """
    torch.load torch.serialization.load torch.jit.load torch.storage._load_from_bytes torch.package.PackageImporter
    torch.jit.unsupported_tensor_ops.execWrapper torch._inductor.codecache.compile_file torch.utils.collect_env.run
    torch.utils._config_module.ConfigModule.load_config torch._dynamo.guards.GuardBuilder.get
    torch.fx.experimental.symbolic_shapes.ShapeEnv.evaluate_guards_expression
    torch.utils.data.datapipes.utils.decoder.basichandlers numpy.load pandas.read_pickle joblib.load dill.load dill.loads
    cloudpickle.load cloudpickle.loads _io.FileIO
    """)

  private static let prefixes = words(
    """
    torch.hub. torch.utils.cpp_extension. torch.utils.bottleneck. numpy.testing. numpy.f2py. numpy.distutils. dill._dill.load
    http.client. httplib. urllib.request. requests.api. aiohttp.
    """)

  private static let attributes = words(
    """
    system popen Popen modules import_module __globals__ __builtins__ __subclasses__ __import__ __code__ __class__ __bases__
    __mro__ __dict__ __getattribute__ __self__ __func__ __closure__ __loader__ __spec__ __reduce__ __reduce_ex__
    """)
}
