"""`organza.registers` as a C header and as Markdown."""

from __future__ import annotations

from organza.registers import ADDRESS_BITS, REGISTERS, VERSION, WORD_BITS, Field, Register

HEADER, MARKDOWN = "organza_registers.h", "registers.md"  # file names
PREFIX = "ORGANZA"
GENERATED = "Generated from organza/registers.py."


def c_header() -> str:
    """C99 header: byte offsets of registers, masks and lowest bits of fields that are less than a word, and words that never change."""
    lines = [
        f"/* Registers of an Organza accelerator. {GENERATED} */",
        f"#ifndef {PREFIX}_REGISTERS_H", f"#define {PREFIX}_REGISTERS_H", "",
        f"#define {PREFIX}_ADDRESS_BITS {ADDRESS_BITS}",
        f"#define {PREFIX}_REGISTERS_VERSION {VERSION}u",
    ]  # fmt: skip
    for one in REGISTERS:
        name = f"{PREFIX}_{one.name}"
        lines += ["", f"/* {_plain(_text(one))}; {one.access} */"]
        if one.count == 1:
            lines.append(f"#define {name} {one.offset:#05x}u")
        else:
            lines += [f"#define {name}(k) ({one.offset:#05x}u + {one.stride}u * (k))", f"#define {name}_COUNT {one.count}u"]
        for field in one.fields:
            if field.bits == WORD_BITS:
                if field.reset:
                    lines.append(f"#define {name}_RESET {field.reset:#010x}u /* {_plain(field.text)} */")
                continue
            lines += [
                f"#define {name}_{field.name.upper()}_LOW {field.low}",
                f"#define {name}_{field.name.upper()}_MASK {field.mask:#010x}u /* {_plain(field.text)} */",
            ]
    return "\n".join([*lines, "", f"#endif /* {PREFIX}_REGISTERS_H */", ""])


def markdown() -> str:
    """A table of all registers and their fields."""
    lines = [
        "# Registers", "",
        f"<!-- {GENERATED} -->",
        "Words of 32 bits at byte offsets, for the AXI top (docs/axi.md). `ro`: read only, `rw`: as written, `w1`: bits written as 1 act, `wo`: what is written goes on, it reads 0.",
        "After reset, bits are 0 where nothing else is said, — where it depends on the chip. Bits that are not listed read 0. A register that a chip does not have",
        "answers as an address without one.", "",
        "| Offset | Register | Bits | Field | Access | Reset | |", "| --- | --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for one in REGISTERS:
        lines.append(f"| {_offset(one)} | `{_name(one)}` | | | {one.access} | | {_text(one)} |")
        lines += [f"| | | {_bits(field)} | `{field.name}` | | {_reset(field)} | {field.text} |" for field in one.fields]
    return "\n".join([*lines, ""])


def _text(one: Register) -> str:
    return f"{one.text}; only with {one.only}" if one.only else one.text


def _plain(text: str) -> str:
    return text.replace("`", "").replace("\\|", "|")


def _name(one: Register) -> str:
    return one.name if one.count == 1 else f"{one.name}[{one.count}]"


def _offset(one: Register) -> str:
    return f"`{one.offset:#05x}`" if one.count == 1 else f"`{one.offset:#05x}` + {one.stride}k"


def _bits(field: Field) -> str:
    return f"{field.low}" if field.bits == 1 else f"{field.low + field.bits - 1} … {field.low}"


def _reset(field: Field) -> str:
    return "—" if field.reset is None else f"`{field.reset:#x}`" if field.reset else ""
