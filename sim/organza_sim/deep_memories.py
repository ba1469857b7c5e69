"""Deep read-only memories in block RAMs of ECP5 that each give other bits of the word, so that no choice follows their outputs.

Yosys takes the fewest block RAMs. That can be fewer if words are spread over RAMs that are not as deep as the memory, and a choice
between the RAMs then follows their outputs, which come 5.6 ns after the clock; and registers behind the choice cannot move into the RAM
(`organza_sim.output_registers`). Each library here leaves Yosys one shape, as narrow as the memory is deep.
"""

DEPTHS = {4: 2048, 2: 4096, 1: 8192}  # by bits of a word: memories of more words take no wider words
# The read port of Yosys's own DP16KD, in the names that its mapping to cells knows, with words of these bits.
_LIBRARY = """\
ram block $__DP16KD_ {{
    abits 14;
    widths {bits} per_port;
    cost 128;
    init no_undef;
    port srsw "A" "B" {{
        clock anyedge;
        clken;
        portoption "WRITEMODE" "NORMAL" {{
            rdwr no_change;
        }}
        option "RESETMODE" "SYNC" {{
            rdsrst zero ungated block_wr;
        }}
        rdinit zero;
    }}
}}
"""
LIBRARIES = {f"deep_memories_{bits}.txt": _LIBRARY.format(bits=bits) for bits in DEPTHS}  # text by file name
# To be run where `synth_ecp5` has come to its step `map_ram`, the deepest first: what is mapped is no `$mem_v2` any more.
COMMANDS = "; ".join(
    f"memory_libmap -lib {name} t:$mem_v2 r:WR_PORTS=0 %i r:SIZE>{DEPTHS[bits]} %i"
    for bits, name in reversed([*zip(DEPTHS, LIBRARIES, strict=True)])
)
