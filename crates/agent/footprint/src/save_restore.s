# What `+save-restore` calls in place of a prologue and an epilogue of each function's own, as the RISC-V ABI names it. GNU's
# libgcc has these; a firmware without libgcc brings them itself, as this one does, and they count.
# The frame is 16, 32, 48 or 64 bytes long, so the entries of up to four numbers are one.
.section .text.save_restore, "ax"

.globl __riscv_save_12
__riscv_save_12:
    # t1 stays at the frame's end, where ra and s0 lie whatever the frame's size.
    mv t1, sp
    addi sp, sp, -64
    sw s11, -52(t1)
    j 1f

.globl __riscv_save_11, __riscv_save_10, __riscv_save_9, __riscv_save_8
__riscv_save_11:
__riscv_save_10:
__riscv_save_9:
__riscv_save_8:
    mv t1, sp
    addi sp, sp, -48
1:  sw s10, -48(t1)
    sw s9, -44(t1)
    sw s8, -40(t1)
    sw s7, -36(t1)
    j 2f

.globl __riscv_save_7, __riscv_save_6, __riscv_save_5, __riscv_save_4
__riscv_save_7:
__riscv_save_6:
__riscv_save_5:
__riscv_save_4:
    mv t1, sp
    addi sp, sp, -32
2:  sw s6, -32(t1)
    sw s5, -28(t1)
    sw s4, -24(t1)
    sw s3, -20(t1)
    j 3f

.globl __riscv_save_3, __riscv_save_2, __riscv_save_1, __riscv_save_0
__riscv_save_3:
__riscv_save_2:
__riscv_save_1:
__riscv_save_0:
    mv t1, sp
    addi sp, sp, -16
3:  sw s2, -16(t1)
    sw s1, -12(t1)
    sw s0, -8(t1)
    sw ra, -4(t1)
    jr t0

.globl __riscv_restore_12
__riscv_restore_12:
    lw s11, 12(sp)
    addi sp, sp, 16
.globl __riscv_restore_11, __riscv_restore_10, __riscv_restore_9, __riscv_restore_8
__riscv_restore_11:
__riscv_restore_10:
__riscv_restore_9:
__riscv_restore_8:
    lw s10, 0(sp)
    lw s9, 4(sp)
    lw s8, 8(sp)
    lw s7, 12(sp)
    addi sp, sp, 16
.globl __riscv_restore_7, __riscv_restore_6, __riscv_restore_5, __riscv_restore_4
__riscv_restore_7:
__riscv_restore_6:
__riscv_restore_5:
__riscv_restore_4:
    lw s6, 0(sp)
    lw s5, 4(sp)
    lw s4, 8(sp)
    lw s3, 12(sp)
    addi sp, sp, 16
.globl __riscv_restore_3, __riscv_restore_2, __riscv_restore_1, __riscv_restore_0
__riscv_restore_3:
__riscv_restore_2:
__riscv_restore_1:
__riscv_restore_0:
    lw s2, 0(sp)
    lw s1, 4(sp)
    lw s0, 8(sp)
    lw ra, 12(sp)
    addi sp, sp, 16
    ret
.text
