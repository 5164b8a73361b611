"""The one thing that a process does before it meets a shopper, in the processor's own words.

Python cannot do it: its interpreter counts how often a line was run, in the memory of that line.
Whoever is born of a process that ran a loop k times can find k there, and so how many shoppers came
before: with one shopper fewer all who follow would see another number. These few words have no
memory. What is handed on is the same, byte by byte, for the first shopper and the millionth.
"""

from __future__ import annotations

import ctypes
import struct

from .system import place_code

__all__ = ["WORDS", "wait_and_copy"]

# long f(int words, char *buffer):
#     again: if ((n = read(words, buffer, 1)) <= 0) return n
#            n = clone(0, 0, 0, 0, 0)
#            if (n == 0) goto again            the copy, which waits for the next word
#            return n < 0 ? n : 1              1, not n: process numbers count, too
WORDS = {
    "x86_64": bytes.fromhex(
        "31c0"  # xor eax, eax            read
        "ba01000000"  # mov edx, 1
        "0f05"  # syscall
        "4885c0"  # test rax, rax
        "7e23"  # jle end
        "57"  # push rdi
        "56"  # push rsi
        "31ff"  # xor edi, edi
        "31f6"  # xor esi, esi
        "31d2"  # xor edx, edx
        "4531d2"  # xor r10d, r10d
        "4531c0"  # xor r8d, r8d
        "b838000000"  # mov eax, 56       clone
        "0f05"  # syscall
        "5e"  # pop rsi
        "5f"  # pop rdi
        "4885c0"  # test rax, rax
        "74d6"  # jz again
        "7805"  # js end
        "b801000000"  # mov eax, 1
        "c3"  # end: ret
    ),
    "aarch64": struct.pack(
        "<20I",
        0xAA0003E9,  # mov x9, x0
        0xAA0103EA,  # mov x10, x1
        0xAA0903E0,  # again: mov x0, x9
        0xAA0A03E1,  # mov x1, x10
        0xD2800022,  # mov x2, 1
        0xD28007E8,  # mov x8, 63         read
        0xD4000001,  # svc 0
        0xF100001F,  # cmp x0, 0
        0x5400016D,  # b.le end
        0xD2800000,  # mov x0, 0
        0xD2800001,  # mov x1, 0
        0xD2800002,  # mov x2, 0
        0xD2800003,  # mov x3, 0
        0xD2800004,  # mov x4, 0
        0xD2801B88,  # mov x8, 220        clone
        0xD4000001,  # svc 0
        0xB4FFFE40,  # cbz x0, again
        0xB7F80040,  # tbnz x0, 63, end
        0xD2800020,  # mov x0, 1
        0xD65F03C0,  # end: ret
    ),
}


def wait_and_copy(machine: str, words: int) -> bool:
    """Wait for a word, copy this process, and return True in the one that serves a shopper.

    The copy waits for the next word, and so on. False when no more words will come.
    """
    read_into = ctypes.create_string_buffer(8)
    code = place_code(WORDS[machine])
    run = ctypes.PYFUNCTYPE(ctypes.c_long, ctypes.c_int, ctypes.c_void_p)(code)
    return bool(run(words, ctypes.addressof(read_into)) > 0)
