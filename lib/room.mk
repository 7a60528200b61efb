LIBRARIES += libpostcell
libpostcell_SOURCES := $(sort $(wildcard lib/*.c))
libpostcell_PACKAGES := libxxhash libutf8proc
