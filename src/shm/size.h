// SPDX-License-Identifier: Apache-2.0
// The values of HAMi's environment variables, and of partage-limits' flags: read right or refused, never guessed.
#pragma once

#include <cstdint>

namespace partage::shm {

/// Reads an amount of memory: a decimal number and a binary unit, e.g. "3000m" (= 3000 MiB), "8GiB", "1.5g", "1073741824".
///
/// Units, in upper or lower case: none (bytes), k m g t, Ki Mi Gi Ti, KiB MiB GiB TiB; all are powers of 1024, as HAMi means them. A
/// fraction needs a unit and is rounded down to a whole byte, which as a limit is exact. "0" with any unit is 0, HAMi's word for "no
/// limit": the caller decides. False, and `bytes` untouched, for everything else: null or empty, signs, blanks, hexadecimal, a leading zero
/// ("010m" is octal to some), decimal units ("8GB" is 7 % less than HAMi would give), more than 9 decimals, and what is not below 2^63.
bool ParseSize(const char* text, std::uint64_t* bytes);

/// Reads a whole number without sign, blanks or leading zeros that is at most `most`. False, and `number` untouched, for anything else.
bool ParseNumber(const char* text, std::uint64_t most, std::uint64_t* number);

}  // namespace partage::shm
