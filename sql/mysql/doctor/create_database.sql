CREATE DATABASE eventflow_doctor CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
