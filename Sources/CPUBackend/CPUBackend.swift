import CDNNL
import CKernels
import CSystem
import Engine
import Glibc

/// Runs graphs on the processor: products by oneDNN, the rest by kernels of our own.
public final class CPUBackend: Backend {
  /// Element type of activations and weights.
  public enum Precision: String, Sendable {
    /// bf16 where the processor computes quicker with it, else f32.
    case automatic
    case f32
    case bf16
  }

  /// Whether frames are begun before the last is finished, each on a share of the threads.
  public enum Overlap: Sendable {
    case never
    /// Where a model is small and the clock says that clearly more frames come of it.
    case measured
    /// Where a model is small.
    case always
  }

  public let preferredElement: ElementType
  /// Threads that a program runs on.
  public let threads: Int
  private let fuses: Bool
  private let settingsBytes: Int
  private let overlap: Overlap
  private let memory, wholeMemory: Int?
  private let dnnl: DNNL
  private var caches = WeightCaches<Buffer>()

  /// `threads` nil takes the cores that the affinity mask and the control group allow; `fuses` false runs the
  /// graph as it was written, to find out which of the two is wrong. `settingsBytes`: weights of more bytes that
  /// only a change of settings needs (text encoders) are read again at each change and do not stay; reading them
  /// takes about as long as one frame of such a model. `memory`: bytes that a compilation may fill, nil for what is free by
  /// then; `wholeMemory`: were nothing else there, nil for the machine's.
  public init(
    precision: Precision = .automatic, threads: Int? = nil, fuses: Bool = true,
    settingsBytes: Int = 256 << 20,
    overlap: Overlap = .measured, memory: Int? = nil, wholeMemory: Int? = nil
  ) throws {
    self.fuses = fuses
    self.settingsBytes = settingsBytes
    self.overlap = overlap
    self.memory = memory
    self.wholeMemory = wholeMemory
    self.threads = max(1, threads ?? Int(turbocam_available_threads()))
    dnnl = try DNNL()
    switch precision {
    case .f32: preferredElement = .f32
    case .bf16:
      guard Self.runsBfloat16 else { throw CPUError.element("bf16", op: "products on this processor") }
      preferredElement = .bf16
    case .automatic: preferredElement = Self.prefersBfloat16 ? .bf16 : .f32
    }
  }

  /// Whether the processor multiplies bf16 itself (AVX512_BF16 or AMX).
  public static var hasBfloat16: Bool { DNNL.has(dnnl_cpu_isa_avx512_core_bf16) }

  /// Whether it is also quicker with it than in f32, where many convolutions need fewer products (WinogradConvolution).
  public static let prefersBfloat16 = isBfloat16Quicker(
    has: hasBfloat16, amx: DNNL.has(dnnl_cpu_isa_avx512_core_amx), gain: tc_pair_gain())

  /// Some have instructions for bf16 that are not quicker, which only a clock tells: `gain` is how many times as
  /// many products a second they give as those of f32. AMX is quicker by far.
  public static func isBfloat16Quicker(has: Bool, amx: Bool, gain: @autoclosure () -> Double) -> Bool {
    has && (amx || gain() > leastGain)
  }

  /// Of products in bf16, for which it is worth being less exact. Processors differ by more from it than a clock errs:
  /// they have half as many, as many or twice as many as of f32.
  private static let leastGain = 1.4

  /// Whether graphs in bf16 run at all: oneDNN emulates the products on any AVX-512.
  public static var runsBfloat16: Bool { DNNL.has(dnnl_cpu_isa_avx512_core) }

  /// Whether weights that lie in the file in 16 bits take no more in memory where graphs run in f32.
  public static var keepsHalves: Bool { PanelProduct.unpacksFast }

  /// Only where the processor multiplies i8 itself (VNNI): before it sums were of 16 bits, which large products leave.
  public var multipliesInt8: Bool { Self.hasInt8 }
  public static var hasInt8: Bool {
    DNNL.has(dnnl_cpu_isa_avx512_core_vnni) || DNNL.has(dnnl_cpu_isa_avx2_vnni)
  }

  public var description: String {
    let set = String(cString: tc_instruction_set())
    let slow = Self.hasBfloat16 && !Self.prefersBfloat16 ? ", which is slower" : ""
    let note = preferredElement == .bf16 ? "AVX512_BF16" : set + slow
    return "CPU, oneDNN \(DNNL.version), \(preferredElement) (\(note)), \(threads) threads"
  }

  public func compile(_ graph: Graph, weights: any WeightSource, progress: (CompileProgress) -> Void) throws
    -> any Executable
  {
    guard multipliesInt8 || !graph.nodes.contains(where: { $0.type.element == .i8 }) else {
      throw EngineError.unsupported("i8", backend: "a processor without VNNI")
    }
    let fused =
      fuses
      ? Fusion.run(
        graph, endings: .gated,
        gates: { graph, source, weight in
          PanelProduct.gates(
            graph.type(source), graph.type(weight), stored: graph.stored(weight, in: weights))
        },
        upsamplesInput: WinogradConvolution.upsamplesInput) : graph
    let plan = Plan(fused, rules: Lowering.rules)
    do {
      return try CPUExecutable(
        plan, dnnl, threads: threads, overlap: overlap, source: weights, cache: caches.cache(of: weights),
        settingsBytes: settingsBytes, freeBytes: memory ?? Self.freeMemory, progress: progress)
    } catch CPUError.room(let asked, _) where asked > whole {
      throw CPUError.tooLarge(asked: asked, whole: whole)
    } catch CPUError.memory(let byteCount) where byteCount > whole {
      throw CPUError.tooLarge(asked: byteCount, whole: whole)
    }
  }

  /// Bytes that are not there whatever else ends.
  private var whole: Int { wholeMemory ?? Self.machineMemory }

  private static var freeMemory: Int {
    Int(turbocam_free_memory("/proc/meminfo", "/proc/self/cgroup", "/sys/fs/cgroup"))
  }

  /// No more than the process may map (ulimit -v).
  private static var machineMemory: Int {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit)
    let whole = Int(turbocam_whole_memory("/proc/meminfo", "/proc/self/cgroup", "/sys/fs/cgroup"))
    return min(whole, Int(clamping: limit.rlim_cur))
  }
}
