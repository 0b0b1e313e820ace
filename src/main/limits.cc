// SPDX-License-Identifier: Apache-2.0
#include <iostream>

#include "main/limits_command.h"

int main(int argc, char** argv) { return partage::app::RunLimits({argv + 1, argv + argc}, std::cout, std::cerr); }
