# SPDX-License-Identifier: Apache-2.0
# Writes OUTPUT, a .cc with the text of every file in INPUTS (a list): cmake -DOUTPUT=… -DINPUTS=…;… -P embed.cmake
set(documents "")
foreach(input IN LISTS INPUTS)
  file(READ "${input}" text)
  if(text MATCHES "\\)yaml\"")
    message(FATAL_ERROR "${input} contains )yaml\", which would end its literal")
  endif()
  string(APPEND documents "      R\"yaml(${text})yaml\",\n")
endforeach()
file(WRITE "${OUTPUT}" "// Generated from charts/partage/vendors/*.yaml.
#include \"vendors/vendor.h\"

namespace partage::vendors {

std::vector<std::string> EmbeddedDocuments() {
  return {
${documents}  };
}

}  // namespace partage::vendors
")
