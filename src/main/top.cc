// SPDX-License-Identifier: Apache-2.0
#include <iostream>

#include "main/top_view.h"

int main(int argc, char** argv) { return partage::app::RunTop({argv + 1, argv + argc}, std::cout, std::cerr); }
