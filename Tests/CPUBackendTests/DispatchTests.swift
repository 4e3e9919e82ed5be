import CKernels
import Glibc
import Testing

/// Which instructions kernels are chosen for, in processes of their own: the choice is made once.
@Suite struct DispatchTests {
  #if arch(x86_64)
    /// oneDNN takes a name that it does not know for no limit.
    @Test func anUnknownLimitIsNone() async {
      await #expect(processExitsWith: .success) {
        setenv("ONEDNN_MAX_CPU_ISA", "AVX1024", 1)
        let file = try #require(fopen("/proc/cpuinfo", "r"))
        var line = [CChar](repeating: 0, count: 1 << 14)
        var flags: Set<Substring> = []
        while flags.isEmpty, fgets(&line, Int32(line.count), file) != nil {
          let text = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
          if text.hasPrefix("flags") { flags = Set(text.split { $0 == " " || $0 == "\n" }) }
        }
        fclose(file)
        let isOld = !flags.isSuperset(of: ["avx2", "fma", "f16c"])
        #expect((String(cString: tc_instruction_set()) == "baseline") == isOld)
      }
    }

    @Test func theOldestCanBeAskedFor() async {
      await #expect(processExitsWith: .success) {
        setenv("ONEDNN_MAX_CPU_ISA", "sse41", 1)
        #expect(String(cString: tc_instruction_set()) == "baseline")
      }
    }
  #endif
}
