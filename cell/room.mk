# The demo cell on this machine. CELL_NET is the part of loopback it lives in,
# so that several cells can run at once.
CELL_NET ?= 127.0.31

.PHONY: cell cell-stop
cell:
	@tools/bootstrap build cell
	@$(MAKE) --no-print-directory all
	@/usr/bin/python3 cell/cell.py --folder $(BUILD)/cell --build $(BUILD) --net $(CELL_NET) start
cell-stop:
	@/usr/bin/python3 cell/cell.py --folder $(BUILD)/cell stop
# Without its folder a cell could not be stopped any more.
clean: $(if $(wildcard $(BUILD)/cell),cell-stop)
